package dev.attune.searchlog;

import java.time.Instant;
import java.time.LocalDate;
import java.util.List;

/** What became of the items that were sent, for the administration. */
public interface IngestionStatistics {

  /** The newest days on which items arrived, newest first. */
  List<Day> days(int limit);

  /** The newest rejections, newest first; how many are remembered is {@code attune.searchlog.kept-errors}. */
  List<Failure> lastFailures(int limit);

  /** Items received on one day (UTC). */
  record Day(LocalDate day, long accepted, long duplicates, long rejected) {}

  /**
   * A rejected item.
   *
   * @param index its place in the request that brought it, from zero
   * @param reason names the field; holds no value of the item
   */
  record Failure(Instant occurredAt, long index, String reason) {}
}
