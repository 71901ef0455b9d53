package dev.attune.searchlog;

import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;
import tools.jackson.databind.json.JsonMapper;

/**
 * Names the sessions of items whose client named none: a user's items with less than the configured silence between
 * them make one, called {@code ~} and its first moment. Only the surroundings of a change are looked at: what is
 * further away than the silence cannot be affected.
 */
@Component
class SessionDeriver {

  /** In SQL rather than JPA: a window function over both tables, for all users of a batch in one statement. */
  private static final String DERIVE =
      """
      with affected as (
        select * from json_to_recordset(cast(:ranges as json)) as r(user_id text, lo timestamptz, hi timestamptz)
      ), touched as (
        select distinct s.user_id, s.session_id
        from affected a join log_step s on s.user_id = a.user_id
        where not s.session_given
          and s.at between a.lo - cast(:gap as interval) and a.hi + cast(:gap as interval)
      ), steps as (
        select s.kind, s.id, s.user_id, s.session_id, s.at
        from touched t join log_step s on s.user_id = t.user_id and s.session_id = t.session_id
        where not s.session_given
      ), starts as (
        select *, case when at - lag(at) over (partition by user_id order by at, kind, id) <= cast(:gap as interval)
                  then 0 else 1 end as start
        from steps
      ), numbered as (
        select *, sum(start) over (partition by user_id order by at, kind, id) as number from starts
      ), named as (
        select kind, id, session_id,
          '~' || to_char(min(at) over (partition by user_id, number) at time zone 'UTC',
                         'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as name
        from numbered
      ), queries as (
        update logged_query q set session_id = n.name from named n
        where n.kind = 'query' and q.query_id = n.id and n.session_id <> n.name
      )
      update logged_event e set session_id = n.name from named n
      where n.kind = 'event' and e.event_id = n.id and n.session_id <> n.name
      """;

  private final JdbcClient jdbc;
  private final JsonMapper json;
  private final String gap;

  SessionDeriver(JdbcClient jdbc, JsonMapper json, SearchLogProperties properties) {
    this.jdbc = jdbc;
    this.json = json;
    this.gap = properties.sessionGap().toMillis() + " milliseconds";
  }

  /** Derives the sessions around the given stretches of time, by user. */
  void derive(Map<String, Range> touched) {
    if (touched.isEmpty()) {
      return;
    }
    List<Map<String, String>> ranges =
        touched.entrySet().stream()
            .map(
                e -> {
                  Map<String, String> range = new LinkedHashMap<>();
                  range.put("user_id", e.getKey());
                  range.put("lo", e.getValue().lo().toString());
                  range.put("hi", e.getValue().hi().toString());
                  return range;
                })
            .toList();
    jdbc.sql(DERIVE).param("ranges", json.writeValueAsString(ranges)).param("gap", gap).update();
  }

  /** From the first to the last moment at which something changed, both included. */
  record Range(Instant lo, Instant hi) {

    Range with(Range other) {
      return new Range(lo.isBefore(other.lo) ? lo : other.lo, hi.isAfter(other.hi) ? hi : other.hi);
    }
  }
}
