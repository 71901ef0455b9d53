package dev.attune.searchlog;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Published inside the transaction that stored queries and events, so that what listeners derive is stored with them
 * or not at all. One batch is published at a time in the whole installation. Duplicates are not in it.
 *
 * <p>Logs arrive out of order: an event may come before the query that tells whose it is. Such an item appears twice:
 * first as it was known then, later again with its final content and a {@link Withdrawal} of the earlier one. A
 * listener that undoes {@code withdrawn} first and learns {@code queries} and {@code events} after that ends up the
 * same for any order of arrival.
 *
 * @param queries new or corrected queries
 * @param events new or corrected events
 * @param withdrawn earlier versions that no longer hold
 */
public record ActivityRecorded(List<LoggedQuery> queries, List<LoggedEvent> events, List<Withdrawal> withdrawn) {

  public ActivityRecorded {
    queries = List.copyOf(queries);
    events = List.copyOf(events);
    withdrawn = List.copyOf(withdrawn);
  }

  /** Only new items. */
  public ActivityRecorded(List<LoggedQuery> queries, List<LoggedEvent> events) {
    this(queries, events, List.of());
  }

  /**
   * An item published before that was wrong about its user or content.
   *
   * @param id query id or event id
   * @param userId whom the earlier version was counted for
   */
  public record Withdrawal(Kind kind, String id, @Nullable String userId) {}

  /** What an id names; query ids and event ids are separate name spaces. */
  public enum Kind {
    QUERY,
    EVENT
  }
}
