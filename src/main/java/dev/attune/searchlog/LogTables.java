package dev.attune.searchlog;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * The statements behind {@link LogWriter}. In SQL rather than JPA: each stores or moves a whole batch at once (rows
 * travel as one JSON parameter), and resolves users and sessions where the rows are.
 */
@Component
class LogTables {

  /** Any constant will do, as long as nothing else in the database locks it: "attune" in ASCII. */
  private static final long LOCK = 0x617474756e65L;

  /** Stands for a session that {@link SessionDeriver} has to name. */
  private static final String TO_DERIVE = "~";

  private static final String SAVE_QUERIES =
      """
      insert into logged_query (query_id, user_id, given_user_id, client_id, session_id, session_given, text, text_key,
        asked_at, result_ids, application, simulated, precedence)
      select query_id, coalesce(m.into_user, given_user_id, client_id), given_user_id, client_id,
        case when session_id is not null then session_id
             when coalesce(given_user_id, client_id) is not null then '~' end,
        session_id is not null, text, text_key, asked_at, result_ids, application, simulated, precedence
      from json_to_recordset(cast(:rows as json)) as r(query_id text, given_user_id text, client_id text,
        session_id text, text text, text_key text, asked_at timestamptz, result_ids text[], application text,
        simulated boolean, precedence text)
        left join merged_user m on m.from_user = coalesce(given_user_id, client_id)
      on conflict (query_id) do update set (user_id, given_user_id, client_id, session_id, session_given, text,
          text_key, asked_at, result_ids, application, simulated, precedence)
        = (excluded.user_id, excluded.given_user_id, excluded.client_id, excluded.session_id, excluded.session_given,
          excluded.text, excluded.text_key, excluded.asked_at, excluded.result_ids, excluded.application,
          excluded.simulated, excluded.precedence)
      returning user_id, session_id, asked_at as at
      """;

  private static final String SAVE_EVENTS =
      """
      insert into logged_event (event_id, action, visit, user_id, given_user_id, client_id, session_id,
        given_session_id, session_given, query_id, occurred_at, object_id, object_title, object_text, object_url,
        position, application, simulated, precedence)
      select event_id, action, visit, coalesce(m.into_user, r.given_user_id, q.user_id, r.client_id), r.given_user_id,
        r.client_id,
        case when r.session_id is not null then r.session_id
             when q.session_given then q.session_id
             when coalesce(r.given_user_id, q.user_id, r.client_id) is not null then '~' end,
        r.session_id, r.session_id is not null or coalesce(q.session_given, false),
        r.query_id, occurred_at, object_id, object_title, object_text, object_url,
        position, r.application, r.simulated, r.precedence
      from json_to_recordset(cast(:rows as json)) as r(event_id text, action text, visit boolean, given_user_id text,
          client_id text, session_id text, query_id text, occurred_at timestamptz, object_id text, object_title text,
          object_text text, object_url text, position integer, application text, simulated boolean, precedence text)
        left join logged_query q on q.query_id = r.query_id
        left join merged_user m on m.from_user = coalesce(r.given_user_id, q.user_id, r.client_id)
      on conflict (event_id) do update set (action, visit, user_id, given_user_id, client_id, session_id,
          given_session_id, session_given, query_id, occurred_at, object_id, object_title, object_text, object_url,
          position, application, simulated, precedence)
        = (excluded.action, excluded.visit, excluded.user_id, excluded.given_user_id, excluded.client_id,
          excluded.session_id, excluded.given_session_id, excluded.session_given, excluded.query_id,
          excluded.occurred_at, excluded.object_id, excluded.object_title, excluded.object_text, excluded.object_url,
          excluded.position, excluded.application, excluded.simulated, excluded.precedence)
      returning user_id, session_id, occurred_at as at
      """;

  /** Gives stored events the user and session that their queries now have. */
  private static final String FOLLOW_QUERIES =
      """
      with resolved as (
        select e.event_id, e.user_id as former_user_id, e.session_id as former_session_id,
          e.session_given as former_given, coalesce(m.into_user, e.given_user_id, q.user_id, e.client_id) as user_id,
          case when e.given_session_id is not null then e.given_session_id
               when q.session_given then q.session_id end as session_id
        from logged_query q join logged_event e on e.query_id = q.query_id
          left join merged_user m on m.from_user = coalesce(e.given_user_id, q.user_id, e.client_id)
        where q.query_id = any(:ids)
      )
      update logged_event e
      set user_id = r.user_id,
        session_id = coalesce(r.session_id, case when r.user_id is not null then '~' end),
        session_given = r.session_id is not null
      from resolved r
      where e.event_id = r.event_id
        and (r.user_id is distinct from r.former_user_id
          or r.former_given is distinct from (r.session_id is not null)
          or r.session_id is not null and r.session_id is distinct from r.former_session_id)
      returning e.event_id, r.former_user_id, e.user_id, e.occurred_at
      """;

  private final JdbcClient jdbc;
  private final JsonMapper json;
  private final QueryRepository queries;
  private final EventRepository events;

  LogTables(JdbcClient jdbc, JsonMapper json, QueryRepository queries, EventRepository events) {
    this.jdbc = jdbc;
    this.json = json;
    this.queries = queries;
    this.events = events;
  }

  /**
   * Keeps other processes from writing until this transaction ends. Statements are planned anew each time: a plan made
   * for tables that were still empty scans them whole, and would stay in use while a first import fills them.
   */
  void lock() {
    jdbc.sql("select pg_advisory_xact_lock(?), set_config('plan_cache_mode', 'force_custom_plan', true)")
        .param(LOCK)
        .query((row, n) -> n)
        .list();
  }

  Map<String, Stored> storedQueries(Collection<String> ids) {
    return stored("select query_id, precedence, user_id, asked_at from logged_query where query_id = any(?)", ids);
  }

  Map<String, Stored> storedEvents(Collection<String> ids) {
    return stored("select event_id, precedence, user_id, occurred_at from logged_event where event_id = any(?)", ids);
  }

  private Map<String, Stored> stored(String sql, Collection<String> ids) {
    Map<String, Stored> found = new HashMap<>();
    if (!ids.isEmpty()) {
      jdbc.sql(sql)
          .param(ids.toArray(String[]::new))
          .query(row -> {
            found.put(row.getString(1), new Stored(row.getString(2), row.getString(3), instant(row, 4)));
          });
    }
    return found;
  }

  /** Inserts queries, replacing those of the same id; returns the moments whose session is to be derived. */
  List<Moment> saveQueries(Collection<UbiItem.Query> items) {
    ArrayNode rows = json.createArrayNode();
    for (UbiItem.Query query : items) {
      ObjectNode row = rows.addObject();
      row.put("query_id", query.queryId());
      row.put("given_user_id", query.userId());
      row.put("client_id", query.clientId());
      row.put("session_id", query.sessionId());
      row.put("text", query.text());
      row.put("text_key", LogText.key(query.text()));
      row.put("asked_at", query.timestamp().toString());
      ArrayNode results = row.putArray("result_ids");
      query.resultIds().forEach(results::add);
      row.put("application", query.application());
      row.put("simulated", query.simulated());
      row.put("precedence", query.precedence());
    }
    return save(SAVE_QUERIES, rows);
  }

  /** Inserts events, replacing those of the same id; returns the moments whose session is to be derived. */
  List<Moment> saveEvents(Collection<UbiItem.Event> items) {
    ArrayNode rows = json.createArrayNode();
    for (UbiItem.Event event : items) {
      ObjectNode row = rows.addObject();
      row.put("event_id", event.eventId());
      row.put("action", event.action());
      row.put("visit", event.visit());
      row.put("given_user_id", event.userId());
      row.put("client_id", event.clientId());
      row.put("session_id", event.sessionId());
      row.put("query_id", event.queryId());
      row.put("occurred_at", event.timestamp().toString());
      LoggedEvent.PageObject object = event.object();
      if (object != null) {
        row.put("object_id", object.objectId());
        row.put("object_title", object.title());
        row.put("object_text", object.text());
        row.put("object_url", object.url());
      }
      row.put("position", event.position());
      row.put("application", event.application());
      row.put("simulated", event.simulated());
      row.put("precedence", event.precedence());
    }
    return save(SAVE_EVENTS, rows);
  }

  private List<Moment> save(String sql, ArrayNode rows) {
    return jdbc
        .sql(sql)
        .param("rows", json.writeValueAsString(rows))
        .query((row, n) -> TO_DERIVE.equals(row.getString(2)) ? new Moment(row.getString(1), instant(row, 3)) : null)
        .list()
        .stream()
        .filter(Objects::nonNull)
        .toList();
  }

  /** Moves events that came before one of these queries, or followed an earlier version of it. */
  List<Moved> followQueries(Collection<String> queryIds) {
    return jdbc
        .sql(FOLLOW_QUERIES)
        .param("ids", queryIds.toArray(String[]::new))
        .query((row, n) -> new Moved(row.getString(1), row.getString(2), row.getString(3), instant(row, 4)))
        .list();
  }

  List<LoggedQuery> queries(Collection<String> ids) {
    return ids.isEmpty() ? List.of() : queries.findByQueryIdIn(ids).stream().map(QueryRow::toQuery).toList();
  }

  List<LoggedEvent> events(Collection<String> ids) {
    return ids.isEmpty() ? List.of() : events.findByEventIdIn(ids).stream().map(EventRow::toEvent).toList();
  }

  static Instant instant(ResultSet row, int column) throws SQLException {
    return row.getObject(column, OffsetDateTime.class).toInstant();
  }

  static OffsetDateTime offset(Instant instant) {
    return instant.atOffset(ZoneOffset.UTC);
  }

  /** A stored record that shares its id with one of the batch. */
  record Stored(String precedence, @Nullable String userId, Instant at) {}

  /** When a user did something. */
  record Moment(@Nullable String userId, Instant at) {}

  /** An event that changed its user or session. */
  record Moved(String id, @Nullable String formerUserId, @Nullable String userId, Instant at) {}
}
