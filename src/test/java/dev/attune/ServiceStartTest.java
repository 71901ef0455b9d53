package dev.attune;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.ResultSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Starts the service as people do, rightly and wrongly. */
class ServiceStartTest {

  @TempDir Path temporary;

  @BeforeEach
  void letPostgresIn() throws IOException {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  @Test
  void committedDataSurvivesKillAndTheModelMayBeMissing() throws Exception {
    Path data = temporary.resolve("data");
    try (ServiceProcess first = ServiceProcess.start(data)) {
      String url = first.awaitUrl();
      // No model: the service is up, and says so.
      assertThat(get(url + "/actuator/health")).contains("\"UP\"");
      assertThat(models(url)).contains("\"missing\"").contains("no-model.gguf");
      // Nothing to find and nobody known: empty answers, no errors.
      assertThat(get(url + "/api/v1/complete?q=any&userId=nobody")).contains("\"completions\":[]");
      assertThat(get(url + "/api/v1/search?q=anything&userId=nobody")).contains("\"total\":0").contains("\"hits\":[]");
      assertThat(get(url + "/api/v1/users/nobody/entities")).contains("\"total\":0");
      try (Connection connection = first.connect()) {
        connection.createStatement().execute("insert into service_info values ('test.kill', 'committed')");
      }
      try (ServiceProcess second = ServiceProcess.start(data)) {
        assertThat(second.awaitExit()).isNotZero();
        assertThat(second.output()).contains("APPLICATION FAILED TO START").contains("in use by another Attune");
      }
      try (ServiceProcess samePort =
          ServiceProcess.start(temporary.resolve("other"), "--server.port=" + URI.create(url).getPort())) {
        assertThat(samePort.awaitExit()).isNotZero();
        assertThat(samePort.output()).contains("was already in use").doesNotContain("\tat ");
      }
      first.kill();
    }
    try (ServiceProcess again = ServiceProcess.start(data)) {
      again.awaitUrl();
      try (Connection connection = again.connect();
          ResultSet rows =
              connection.createStatement().executeQuery("select value from service_info where key = 'test.kill'")) {
        assertThat(rows.next()).isTrue();
        assertThat(rows.getString(1)).isEqualTo("committed");
      }
      assertThat(again.terminate()).isEqualTo(143);
      assertThat(data.resolve("postgres/cluster/postmaster.pid")).doesNotExist();
    }
  }

  @Test
  void refusesToBeReachedByOthersWithoutLogin() throws Exception {
    try (ServiceProcess open = ServiceProcess.start(temporary.resolve("data"), "--server.address=0.0.0.0")) {
      assertThat(open.awaitExit()).isNotZero();
      assertThat(open.output()).contains("attune.security.mode=local has no login").doesNotContain("\tat ");
    }
  }

  @Test
  void namesADataDirectoryThatCannotBeUsed() throws Exception {
    Path file = Files.createFile(temporary.resolve("file"));
    try (ServiceProcess service = ServiceProcess.start(file.resolve("data"))) {
      assertThat(service.awaitExit()).isNotZero();
      assertThat(service.output())
          .contains("The data directory " + file.resolve("data") + " cannot be created")
          .contains("attune.data-dir")
          .doesNotContain("\tat ");
    }
  }

  @Test
  void aDamagedModelDoesNotStopTheService() throws Exception {
    Path model = temporary.resolve("damaged.gguf");
    Files.write(model, new byte[] {'G', 'G', 'U', 'F', 3, 0, 0, 0, 1, 2, 3});
    try (ServiceProcess service = ServiceProcess.start(temporary.resolve("data"), "--attune.llm.model=" + model)) {
      String url = service.awaitUrl();
      assertThat(models(url)).contains("\"broken\"").contains("damaged.gguf");
    }
  }

  @Test
  void listsItsCommands() throws Exception {
    try (ServiceProcess help = ServiceProcess.start(temporary.resolve("data"), "--help")) {
      assertThat(help.awaitExit()).isZero();
      assertThat(help.output()).contains("serve").contains("--server.port=9000");
    }
    try (ServiceProcess unknown = ServiceProcess.start(temporary.resolve("data"), "sing")) {
      assertThat(unknown.awaitExit()).isEqualTo(2);
      assertThat(unknown.output()).contains("There is no command 'sing'");
    }
    assertThat(temporary.resolve("data")).doesNotExist();
  }

  /** The model is loaded once the service is ready. */
  private static String models(String url) throws IOException, InterruptedException {
    String models = get(url + "/api/v1/admin/models");
    for (int i = 0; models.contains("\"loading\"") && i < 300; i++) {
      Thread.sleep(100);
      models = get(url + "/api/v1/admin/models");
    }
    return models;
  }

  static String get(String url) throws IOException, InterruptedException {
    try (HttpClient client = HttpClient.newHttpClient()) {
      return client.send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString()).body();
    }
  }
}
