package dev.attune.demo;

import java.util.Optional;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** What the database remembers of the demo, so that a killed service goes on where it was. */
@Component
class DemoRecord {

  private final JdbcClient jdbc;

  DemoRecord(JdbcClient jdbc) {
    this.jdbc = jdbc;
  }

  Optional<String> get(String key) {
    return jdbc.sql("select value from service_info where key = ?").param("demo." + key).query(String.class).optional();
  }

  void put(String key, String value) {
    jdbc.sql(
            "insert into service_info (key, value) values (?, ?)"
                + " on conflict (key) do update set value = excluded.value")
        .param("demo." + key)
        .param(value)
        .update();
  }
}
