package dev.attune.admin;

import java.util.List;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** Which jobs have begun and not ended, in the database: what an end of the service interrupts is known afterwards. */
@Component
class JobRecord {

  private static final String PREFIX = "job.";

  private final JdbcClient jdbc;

  JobRecord(JdbcClient jdbc) {
    this.jdbc = jdbc;
  }

  void begun(String id) {
    jdbc.sql("insert into service_info (key, value) values (?, 'running') on conflict (key) do nothing")
        .param(PREFIX + id)
        .update();
  }

  void ended(String id) {
    jdbc.sql("delete from service_info where key = ?").param(PREFIX + id).update();
  }

  /** Ids of jobs that did not end. */
  List<String> unfinished() {
    return jdbc.sql("select substr(key, length(?) + 1) from service_info where starts_with(key, ?) order by key")
        .params(PREFIX, PREFIX)
        .query(String.class)
        .list();
  }
}
