package dev.attune.demo;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.ServiceProcess;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The demo is complete, once, also when the service is killed while it is loaded. */
class DemoLoadingTest {

  private static final int FILMS = 9_750;
  private final JsonMapper json = JsonMapper.builder().build();

  @TempDir Path temporary;

  @Test
  void goesOnAfterAKill() throws Exception {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    Path data = temporary.resolve("data");
    String[] arguments = {"--attune.demo.enabled=true", "--attune.demo.batch-size=250"};
    try (ServiceProcess first = ServiceProcess.start(data, arguments)) {
      await(first.awaitUrl(), job -> job.path("part").asString("").equals("films") && job.get("done").asLong() > 0);
      first.kill();
    }
    long simulated = SimulatedUsers.read(Instant.now()).size();
    try (ServiceProcess second = ServiceProcess.start(data, arguments)) {
      String url = second.awaitUrl();
      await(url, job -> job.get("state").asString().equals("done"));
      assertThat(get(url + "/api/v1/admin/overview").get("documents").asLong()).isEqualTo(FILMS);
      assertThat(get(url + "/api/v1/admin/overview").get("entities").asInt()).isGreaterThan(14_000);
      try (Connection connection = second.connect()) {
        assertThat(count(connection, "select count(*) from logged_query where simulated")
                + count(connection, "select count(*) from logged_event where simulated"))
            .isEqualTo(simulated);
        assertThat(count(connection, "select count(*) from logged_query where not simulated")).isZero();
      }
      assertThat(second.output()).doesNotContain("ERROR");
    }
  }

  private void await(String url, Predicate<JsonNode> condition) throws Exception {
    Instant deadline = Instant.now().plus(Duration.ofMinutes(8));
    JsonNode demo = json.nullNode();
    while (Instant.now().isBefore(deadline)) {
      for (JsonNode job : get(url + "/api/v1/admin/jobs")) {
        if (job.get("id").asString().equals("demo")) {
          demo = job;
        }
      }
      assertThat(demo.get("state").asString()).as(demo.toString()).isNotEqualTo("failed");
      if (condition.test(demo)) {
        return;
      }
      LockSupport.parkNanos(20_000_000);
    }
    throw new AssertionError("Last seen: " + demo);
  }

  private JsonNode get(String url) throws Exception {
    try (HttpClient client = HttpClient.newHttpClient()) {
      return json.readTree(
          client.send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString()).body());
    }
  }

  private static long count(Connection connection, String sql) throws SQLException {
    try (ResultSet rows = connection.createStatement().executeQuery(sql)) {
      rows.next();
      return rows.getLong(1);
    }
  }
}
