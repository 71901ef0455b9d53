package dev.attune.searchlog;

import java.time.Instant;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;

/** Counts per day and the newest rejections. In SQL: counters are added up where they are. */
@Component
class IngestionTables implements IngestionStatistics {

  private final JdbcClient jdbc;
  private final JsonMapper json;
  private final int keptErrors;

  IngestionTables(JdbcClient jdbc, JsonMapper json, SearchLogProperties properties) {
    this.jdbc = jdbc;
    this.json = json;
    this.keptErrors = properties.keptErrors();
  }

  /** Adds a batch, in the transaction that stores it. */
  void count(Instant received, int accepted, int duplicates, List<SearchLog.Rejection> rejections) {
    OffsetDateTime at = received.atOffset(ZoneOffset.UTC);
    jdbc.sql(
            """
            insert into ingestion_day as d (day, accepted, duplicates, rejected) values (?, ?, ?, ?)
            on conflict (day) do update set accepted = d.accepted + excluded.accepted,
              duplicates = d.duplicates + excluded.duplicates, rejected = d.rejected + excluded.rejected
            """)
        .params(at.toLocalDate(), accepted, duplicates, rejections.size())
        .update();
    if (rejections.isEmpty() || keptErrors == 0) {
      return;
    }
    ArrayNode rows = json.createArrayNode();
    rejections.forEach(r -> rows.addObject().put("i", r.index()).put("r", r.reason()));
    jdbc.sql(
            """
            insert into ingestion_error (occurred_at, item_index, reason)
            select ?, i, r from json_to_recordset(cast(? as json)) as x(i bigint, r text)
            """)
        .params(at, json.writeValueAsString(rows))
        .update();
    jdbc.sql("delete from ingestion_error where id <= (select max(id) from ingestion_error) - ?")
        .param(keptErrors)
        .update();
  }

  @Override
  public List<Day> days(int limit) {
    return jdbc
        .sql("select day, accepted, duplicates, rejected from ingestion_day order by day desc limit ?")
        .param(limit)
        .query(
            (row, n) ->
                new Day(row.getObject(1, LocalDate.class), row.getLong(2), row.getLong(3), row.getLong(4)))
        .list();
  }

  @Override
  public List<Failure> lastFailures(int limit) {
    return jdbc
        .sql("select occurred_at, item_index, reason from ingestion_error order by id desc limit ?")
        .param(limit)
        .query((row, n) -> new Failure(LogTables.instant(row, 1), row.getLong(2), row.getString(3)))
        .list();
  }
}
