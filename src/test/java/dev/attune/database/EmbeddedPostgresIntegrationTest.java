package dev.attune.database;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.datadir.DataDirectory;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.test.web.servlet.client.RestTestClient;

/** The service runs on its embedded server with the schema of the migrations. */
@AttuneIntegrationTest
class EmbeddedPostgresIntegrationTest {

  @Autowired JdbcClient jdbc;
  @Autowired DataDirectory dataDirectory;
  @Autowired RestTestClient rest;

  @Test
  void isDurableAndLocal() {
    assertThat(setting("fsync")).isEqualTo("on");
    assertThat(setting("full_page_writes")).isEqualTo("on");
    assertThat(setting("synchronous_commit")).isEqualTo("on");
    assertThat(setting("listen_addresses")).isEqualTo("127.0.0.1");
    assertThat(setting("unix_socket_directories")).isEmpty();
    assertThat(setting("data_checksums")).isEqualTo("on");
  }

  @Test
  void passwordIsPrivateAndNeeded() throws Exception {
    var file = dataDirectory.root().resolve("postgres/password");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file))).isEqualTo("rw-------");
    assertThat(jdbc.sql("select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'")
            .query(Long.class).single())
        .isZero();
  }

  @Test
  void schemaComesFromMigrations() {
    assertThat(jdbc.sql("select success from flyway_schema_history where version = '1'").query(Boolean.class).single())
        .isTrue();
  }

  @Test
  void serviceIsHealthy() {
    rest.get().uri("/actuator/health").exchange().expectStatus().isOk();
  }

  private String setting(String name) {
    return jdbc.sql("select current_setting(?)").param(name).query(String.class).single();
  }
}
