package dev.attune.suggestion;

import dev.attune.suggestion.Suggester.Page;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What suggestions are made from.
 *
 * @param userId null when nothing of a user may be used
 * @param query current query, empty if none
 * @param focuses entities to suggest about, best first
 * @param recent the user's own newest queries, newest first
 * @param session queries and pages of the current session, oldest first
 * @param history queries of the user for the prompt as they are, newest first; empty where the store is used
 * @param hiddenTypes sensitive entity types that the user does not allow
 */
record SuggestionContext(
    @Nullable String userId,
    String query,
    @Nullable Page page,
    List<Focus> focuses,
    List<String> recent,
    List<String> session,
    List<String> history,
    Set<String> hiddenTypes,
    Instant now) {

  SuggestionContext {
    focuses = List.copyOf(focuses);
    recent = List.copyOf(recent);
    session = List.copyOf(session);
    history = List.copyOf(history);
    hiddenTypes = Set.copyOf(hiddenTypes);
  }
}
