package dev.attune.knowledge;

import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** Counts in the database. */
@Component
class StoreTables implements StoreStatistics {

  private final JdbcClient jdbc;

  StoreTables(JdbcClient jdbc) {
    this.jdbc = jdbc;
  }

  @Override
  public Map<String, Integer> entityCounts(Collection<String> userIds) {
    return entityCounts("user_id = any (?)", userIds.toArray(String[]::new));
  }

  @Override
  public Map<String, Integer> entityCounts(String contains) {
    return entityCounts("strpos(lower(user_id), lower(?)) > 0", contains);
  }

  private Map<String, Integer> entityCounts(String matching, Object parameter) {
    Map<String, Integer> counts = new HashMap<>();
    jdbc.sql("select user_id, count(*) from user_entity where " + matching + " group by user_id")
        .param(parameter)
        .query(row -> {
          counts.put(row.getString(1), row.getInt(2));
        });
    return counts;
  }

  @Override
  public Totals totals() {
    return new Totals(
        jdbc.sql("select count(*) from user_store").query(Long.class).single(),
        jdbc.sql("select count(*) from user_entity").query(Long.class).single());
  }
}
