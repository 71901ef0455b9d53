package dev.attune.searchlog;

import java.time.LocalDate;
import java.util.List;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** Computed in the database from the log. */
@Component
class LogQualityTables implements LogQuality {

  private final JdbcClient jdbc;

  LogQualityTables(JdbcClient jdbc) {
    this.jdbc = jdbc;
  }

  @Override
  public List<DayQuality> days(int limit, boolean simulated) {
    return jdbc.sql(
            """
            select cast(asked_at at time zone 'UTC' as date) as day, count(*) as queries,
              count(visited.query_id) as clicked, avg(1.0 / visited.best) as mrr
            from logged_query q
            left join (
              select query_id, min(position) filter (where position > 0) as best
              from logged_event where visit and query_id is not null group by query_id
            ) visited using (query_id)
            where q.simulated = ? and q.text <> ''
            group by 1 order by 1 desc limit ?
            """)
        .params(simulated, limit)
        .query(
            (row, number) ->
                new DayQuality(
                    row.getObject("day", LocalDate.class),
                    row.getLong("queries"),
                    row.getLong("clicked"),
                    row.getObject("mrr") == null ? null : row.getDouble("mrr")))
        .list();
  }

  @Override
  public Totals totals() {
    return jdbc.sql(
            """
            select (select count(distinct user_id) from log_step), (select count(*) from logged_query),
              (select count(*) from logged_event)
            """)
        .query((row, number) -> new Totals(row.getLong(1), row.getLong(2), row.getLong(3)))
        .single();
  }
}
