package dev.attune.searchlog;

import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;

/** The durable log of queries and events. */
public interface SearchLog {

  /**
   * Most characters of an id in the log: of a user, a session, a query, an event or an object. The UBI schema says 100
   * for most and 256 for objects; the wider bound serves all.
   */
  int MAX_ID = 256;

  /**
   * Stores UBI items one by one: an invalid item is rejected with its reason, a known one is counted as duplicate.
   * Durable when the call returns. An item is known by its {@code query_id} or {@code event_id}, or else by the hash
   * of its content. Of different records with one id, one is kept that does not depend on the order of arrival.
   *
   * @param items parsed lines; bulk action lines are skipped
   */
  IngestReport ingest(Stream<JsonNode> items);

  /**
   * Stores a query that this service answered itself, as {@link #ingest} would. May wait for a batch that is being
   * stored, so not to be called on the way to an answer.
   */
  void record(LoggedQuery query);

  Optional<LoggedQuery> findQuery(String queryId);

  /** The user's newest queries, newest first; those without words are left out. */
  List<LoggedQuery> recentQueries(String userId, int limit);

  /** Queries and visited pages of the user's session, oldest first; the newest {@code limit} of them. */
  List<SessionItem> session(String userId, String sessionId, int limit);

  /**
   * As {@link #session} for the session that the user is in, given or derived: the one of their last step, if that is
   * less than the session gap (30 minutes) before {@code now}; else empty.
   */
  List<SessionItem> currentSession(String userId, Instant now, int limit);

  /** Queries by id, for traces, in no order; unknown ids are left out. */
  List<LoggedQuery> queries(List<String> queryIds);

  /** Events by id, for traces, in no order; unknown ids are left out. */
  List<LoggedEvent> events(List<String> eventIds);

  /**
   * Queries that start with a prefix and that at least {@code minUsers} different users asked, most users first.
   * Texts are in lower case with single spaces, at most 200 characters.
   */
  List<PopularQuery> popular(String prefix, int minUsers, int limit);

  /** The user's own queries that start with a prefix, most used first. */
  List<PopularQuery> own(String userId, String prefix, int limit);

  /**
   * What became of the items: {@code received = accepted + duplicates + rejected}.
   *
   * @param received items, bulk action lines not counted
   * @param errors the first rejections (100, {@code attune.searchlog.max-errors})
   */
  record IngestReport(long received, long accepted, long duplicates, long rejected, List<Rejection> errors) {}

  /**
   * One rejected item.
   *
   * @param index zero-based over all items sent, skipped action lines included
   * @param reason begins with the field at fault
   */
  record Rejection(long index, String reason) {}

  /** A query text and by how many users it was asked. */
  record PopularQuery(String text, long users, long count) {}

  /** One step of a session: exactly one of the two is present. */
  record SessionItem(Optional<LoggedQuery> query, Optional<LoggedEvent> event) {}
}
