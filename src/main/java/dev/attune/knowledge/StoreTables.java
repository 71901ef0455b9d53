package dev.attune.knowledge;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
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
    Map<String, Integer> counts = new HashMap<>();
    jdbc.sql("select user_id, count(*) from user_entity where user_id = any (?) group by user_id")
        .param(userIds.toArray(String[]::new))
        .query((row, number) -> counts.put(row.getString(1), row.getInt(2)))
        .list();
    return counts;
  }

  @Override
  public BySize bySize(String contains, boolean descending, int page, int size) {
    String matching = " from user_entity where strpos(lower(user_id), lower(?)) > 0";
    String order = descending ? " desc" : " asc";
    List<String> userIds =
        jdbc.sql("select user_id" + matching
                + " group by user_id order by count(*)" + order + ", user_id limit ? offset ?")
            .params(contains, size, (long) page * size)
            .query(String.class)
            .list();
    long total = jdbc.sql("select count(distinct user_id)" + matching).param(contains).query(Long.class).single();
    return new BySize(total, userIds);
  }

  @Override
  public Totals totals() {
    return new Totals(
        jdbc.sql("select count(*) from user_store").query(Long.class).single(),
        jdbc.sql("select count(*) from user_entity").query(Long.class).single());
  }
}
