package dev.attune.searchlog;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;

/** The durable log of queries and events. */
public interface SearchLog {

  /**
   * Stores UBI items one by one: an invalid item is rejected with its reason, a known one is counted as duplicate.
   * Durable when the call returns.
   *
   * @param items parsed lines; bulk action lines are skipped
   */
  IngestReport ingest(Stream<JsonNode> items);

  /** Stores a query that this service answered itself; does nothing if its id is known. */
  void record(LoggedQuery query);

  Optional<LoggedQuery> findQuery(String queryId);

  /** The user's newest queries, newest first. */
  List<LoggedQuery> recentQueries(String userId, int limit);

  /** Queries and clicked pages of the user's session, oldest first; the newest {@code limit} of them. */
  List<SessionItem> session(String userId, String sessionId, int limit);

  /** Queries by id, for traces; unknown ids are left out. */
  List<LoggedQuery> queries(List<String> queryIds);

  /** Events by id, for traces; unknown ids are left out. */
  List<LoggedEvent> events(List<String> eventIds);

  /** Queries that start with a prefix and that at least {@code minUsers} different users asked. */
  List<PopularQuery> popular(String prefix, int minUsers, int limit);

  /** The user's own queries that start with a prefix, most used first. */
  List<PopularQuery> own(String userId, String prefix, int limit);

  /** What became of one batch. Indexes in errors are zero-based over all items, skipped lines included. */
  record IngestReport(long received, long accepted, long duplicates, long rejected, List<Rejection> errors) {}

  /** One rejected item. */
  record Rejection(long index, String reason) {}

  /** A query text and by how many users it was asked. */
  record PopularQuery(String text, long users, long count) {}

  /** One step of a session: exactly one of the two is present. */
  record SessionItem(Optional<LoggedQuery> query, Optional<LoggedEvent> event) {}
}
