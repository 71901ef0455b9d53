package dev.attune.searchlog;

import dev.attune.web.JsonItem;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.springframework.data.domain.Limit;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Service;
import tools.jackson.databind.JsonNode;

/** The log in PostgreSQL. */
@Service
class PostgresSearchLog implements SearchLog {

  private final UbiParser parser;
  private final LogWriter writer;
  private final GroupCommit<UbiItem.Query> recorded;
  private final LogTables tables;
  private final QueryRepository queries;
  private final EventRepository events;
  private final JdbcClient jdbc;
  private final SearchLogProperties properties;

  PostgresSearchLog(
      LogWriter writer,
      LogTables tables,
      QueryRepository queries,
      EventRepository events,
      JdbcClient jdbc,
      SearchLogProperties properties) {
    this.parser = new UbiParser(properties);
    this.writer = writer;
    this.recorded = new GroupCommit<>(
        items -> writer.store(new LogWriter.Batch(Instant.now(), items, List.of(), List.of())));
    this.tables = tables;
    this.queries = queries;
    this.events = events;
    this.jdbc = jdbc;
    this.properties = properties;
  }

  @Override
  public IngestReport ingest(Stream<JsonNode> items) {
    long[] index = {0};
    return ingestItems(items.sequential().map(node -> new JsonItem.Value(index[0]++, node)));
  }

  /** As {@link #ingest}, for a source that may hold malformed items. */
  IngestReport ingestItems(Stream<JsonItem> items) {
    Ingestion ingestion = new Ingestion(parser, writer, properties);
    items.sequential().forEachOrdered(ingestion::add);
    return ingestion.finish();
  }

  @Override
  public void record(LoggedQuery query) {
    String text = LogText.cut(LogText.clean(query.text()).strip(), UbiParser.MAX_QUERY);
    recorded.store(
        new UbiItem.Query(
            query.queryId(),
            query.userId(),
            null,
            query.sessionId(),
            text,
            query.timestamp().truncatedTo(ChronoUnit.MICROS),
            query.resultIds(),
            null,
            query.simulated(),
            ""));
  }

  @Override
  public Optional<LoggedQuery> findQuery(String queryId) {
    return queries.findById(queryId).map(QueryRow::toQuery);
  }

  @Override
  public List<LoggedQuery> recentQueries(String userId, int limit) {
    return queries.newest(userId, Limit.of(limit)).stream().map(QueryRow::toQuery).toList();
  }

  @Override
  public List<SessionItem> session(String userId, String sessionId, int limit) {
    Limit newest = Limit.of(limit);
    List<Step> steps = new ArrayList<>();
    queries.newestOfSession(userId, sessionId, newest).forEach(q -> steps.add(Step.of(q)));
    events.newestVisitsOfSession(userId, sessionId, newest).forEach(e -> steps.add(Step.of(e)));
    steps.sort(Comparator.comparing(Step::at).thenComparing(Step::id));
    return steps.stream().skip(Math.max(0, steps.size() - limit)).map(Step::item).toList();
  }

  @Override
  public List<SessionItem> currentSession(String userId, Instant now, int limit) {
    return jdbc
        .sql(
            """
            select session_id from log_step
            where user_id = ? and session_id is not null and at > ? and at <= ? order by at desc, kind, id limit 1
            """)
        .params(userId, LogTables.offset(now.minus(properties.sessionGap())), LogTables.offset(now))
        .query(String.class)
        .optional()
        .map(id -> session(userId, id, limit))
        .orElse(List.of());
  }

  @Override
  public List<LoggedQuery> queries(List<String> queryIds) {
    return tables.queries(queryIds);
  }

  @Override
  public List<LoggedEvent> events(List<String> eventIds) {
    return tables.events(eventIds);
  }

  @Override
  public List<PopularQuery> popular(String prefix, int minUsers, int limit) {
    return jdbc
        .sql(
            """
            select text_key, count(distinct user_id) as users, count(*) as uses from logged_query
            where text_key like ? and text_key <> '' and user_id is not null
            group by text_key having count(distinct user_id) >= ?
            order by users desc, uses desc, text_key limit ?
            """)
        .params(LogText.likePrefix(prefix), minUsers, limit)
        .query((row, n) -> new PopularQuery(row.getString(1), row.getLong(2), row.getLong(3)))
        .list();
  }

  @Override
  public List<PopularQuery> own(String userId, String prefix, int limit) {
    return jdbc
        .sql(
            """
            select (array_agg(text order by asked_at desc))[1] as text, count(*) as uses from logged_query
            where user_id = ? and text_key like ? and text_key <> ''
            group by text_key order by uses desc, max(asked_at) desc, text_key limit ?
            """)
        .params(userId, LogText.likePrefix(prefix), limit)
        .query((row, n) -> new PopularQuery(row.getString(1), 1, row.getLong(2)))
        .list();
  }

  /** A step of a session with what orders it. */
  private record Step(Instant at, String id, SessionItem item) {

    static Step of(QueryRow row) {
      return new Step(row.askedAt, row.queryId, new SessionItem(Optional.of(row.toQuery()), Optional.empty()));
    }

    static Step of(EventRow row) {
      return new Step(row.occurredAt, row.eventId, new SessionItem(Optional.empty(), Optional.of(row.toEvent())));
    }
  }
}
