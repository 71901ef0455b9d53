package dev.attune.database;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.attune.ServiceProcess;
import dev.attune.datadir.DataDirectory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.testcontainers.DockerClientFactory;
import org.testcontainers.postgresql.PostgreSQLContainer;

/** With {@code spring.datasource.url} the service uses that database and starts none. */
class ExternalPostgresTest {

  @TempDir Path temporary;

  @Test
  void runsOnPostgresInAContainer() throws Exception {
    assumeTrue(DockerClientFactory.instance().isDockerAvailable(), "there is no Docker engine here");
    try (PostgreSQLContainer postgres = new PostgreSQLContainer("postgres:18")) {
      postgres.start();
      usesOnly(postgres.getJdbcUrl(), postgres.getUsername(), postgres.getPassword());
    }
  }

  @Test
  void runsOnAServerThatIsAlreadyThere() throws Exception {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    DataDirectory elsewhere = new DataDirectory(temporary.resolve("elsewhere"));
    try (EmbeddedPostgres server = EmbeddedPostgres.start(elsewhere, EmbeddedPostgresTest.properties())) {
      usesOnly(server.jdbcUrl(), server.username(), server.password());
    }
  }

  private void usesOnly(String url, String user, String password) throws Exception {
    Path data = temporary.resolve("data");
    try (ServiceProcess service =
        ServiceProcess.start(
            data,
            "--spring.datasource.url=" + url,
            "--spring.datasource.username=" + user,
            "--spring.datasource.password=" + password)) {
      service.awaitUrl();
      assertThat(data.resolve("postgres")).doesNotExist();
      try (Connection connection = DriverManager.getConnection(url, user, password);
          ResultSet rows =
              connection.createStatement().executeQuery("select count(*) from flyway_schema_history where success")) {
        rows.next();
        assertThat(rows.getInt(1)).isPositive();
      }
    }
  }
}
