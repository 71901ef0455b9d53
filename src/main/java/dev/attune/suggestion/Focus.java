package dev.attune.suggestion;

import dev.attune.knowledge.Mode;
import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * An entity that a suggestion is to be about.
 *
 * @param mode how it stands to the user; null when it comes from the query or page alone
 * @param relevance to the context, in [0,1]
 * @param count how often the user met it
 * @param viaLabel label of the user's own entity that led to it, or of the one in the query or page
 * @param eventIds the user's own events behind it, newest first
 */
record Focus(
    String entityId,
    String label,
    String type,
    @Nullable Mode mode,
    double relevance,
    int count,
    @Nullable Instant lastSeen,
    @Nullable String viaLabel,
    List<String> eventIds) {

  Focus {
    eventIds = List.copyOf(eventIds);
  }
}
