package dev.attune.searchlog;

import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A query of a search log (UBI 1.3 {@code ubi_queries}).
 *
 * @param queryId unique id; joins events to their query
 * @param userId who asked, by the identity order of the API page; null when nobody can be named
 * @param sessionId the client's session, or one derived from 30 minutes of silence
 * @param text what the user typed
 * @param resultIds document ids that were shown, in order; may be empty
 * @param simulated true when generated for the demo rather than logged from a person
 */
public record LoggedQuery(
    String queryId,
    @Nullable String userId,
    @Nullable String sessionId,
    String text,
    Instant timestamp,
    List<String> resultIds,
    boolean simulated) {

  public LoggedQuery {
    resultIds = List.copyOf(resultIds);
  }
}
