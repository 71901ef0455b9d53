package dev.attune.searchlog;

import java.time.LocalDate;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** How well searches went, as far as the log tells. */
public interface LogQuality {

  /**
   * The newest days with queries, newest first.
   *
   * @param simulated whether to count simulated items instead of real ones
   */
  List<DayQuality> days(int limit, boolean simulated);

  Totals totals();

  /** Everything in the log; users are those that have items. */
  record Totals(long users, long queries, long events) {}

  /**
   * One day (UTC).
   *
   * @param clickedQueries queries that were followed by a visit to a result
   * @param meanReciprocalRank of the best position visited, over the queries with one; null without any
   */
  record DayQuality(LocalDate day, long queries, long clickedQueries, @Nullable Double meanReciprocalRank) {}
}
