package dev.attune.searchlog;

import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What one line of a UBI log turned out to be. */
sealed interface UbiItem {

  /** An OpenSearch bulk action line, which says nothing by itself. */
  record Skipped() implements UbiItem {}

  /** @param reason names the field and what is wrong with it; holds no value of the item */
  record Invalid(String reason) implements UbiItem {}

  /**
   * A valid query.
   *
   * @param text as typed, trimmed and bounded; empty for a search without words
   * @param contentHash of the whole item, as {@link CanonicalHash}
   */
  record Query(
      String queryId,
      @Nullable String userId,
      @Nullable String clientId,
      @Nullable String sessionId,
      String text,
      Instant timestamp,
      List<String> resultIds,
      @Nullable String application,
      boolean simulated,
      String contentHash)
      implements UbiItem {

    /**
     * Real logs repeat a query id, once for each request of one search (results, facets, next page). The smallest
     * wins: one that names the user, then the one with the most results, then the earliest.
     */
    String precedence() {
      return "%d-%06d-%020d-%s"
          .formatted(userId == null ? 1 : 0, 999_999 - resultIds.size(), timestamp.toEpochMilli(), contentHash);
    }
  }

  /** A valid event. */
  record Event(
      String eventId,
      String action,
      boolean visit,
      @Nullable String userId,
      @Nullable String clientId,
      @Nullable String sessionId,
      @Nullable String queryId,
      Instant timestamp,
      LoggedEvent.@Nullable PageObject object,
      @Nullable Integer position,
      @Nullable String application,
      boolean simulated,
      String contentHash)
      implements UbiItem {

    /** The smallest wins among events that share an id: one that names the user, then the earliest. */
    String precedence() {
      return "%d-%020d-%s".formatted(userId == null ? 1 : 0, timestamp.toEpochMilli(), contentHash);
    }
  }
}
