package dev.attune;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.TestModel;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A search that was made before the service was killed is as fast after it: its documents are still read. */
class WarmRestartTest {

  private static final int DOCUMENTS = 6;
  private static final String SEARCH = "/api/v1/search?q=lighthouse&retrieval=lexical&budgetMs=60000";
  private static final Pattern WARM = Pattern.compile("\"warmDocuments\":(\\d+)");

  @TempDir Path temporary;

  @BeforeEach
  void letPostgresIn() throws IOException {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    Assumptions.assumeTrue(Files.exists(TestModel.FILE), "No model at " + TestModel.FILE);
  }

  @Test
  void documentsStayReadOverAKill() throws Exception {
    Path data = temporary.resolve("data");
    try (ServiceProcess first = start(data)) {
      String url = first.awaitUrl();
      String documents = IntStream.range(0, DOCUMENTS)
          .mapToObj(i -> "{\"id\":\"l%d\",\"title\":\"Lighthouse %d\",\"text\":\"It burns at night.\"}".formatted(i, i))
          .collect(Collectors.joining("\n"));
      send(HttpRequest.newBuilder(URI.create(url + "/api/v1/documents"))
          .header("content-type", "application/x-ndjson")
          .POST(HttpRequest.BodyPublishers.ofString(documents)));
      awaitModel(url);
      assertThat(warm(url)).isZero();
      Awaitility.await().atMost(Duration.ofMinutes(1)).until(() -> onDisk(url) == DOCUMENTS);
      String deleted = url + "/api/v1/documents/l0";
      send(HttpRequest.newBuilder(URI.create(deleted)).DELETE());
      assertThat(onDisk(url)).isEqualTo(DOCUMENTS - 1);
      first.kill();
    }
    try (ServiceProcess second = start(data)) {
      String url = second.awaitUrl();
      awaitModel(url);
      assertThat(warm(url)).isEqualTo(DOCUMENTS - 1);
      Awaitility.await().atMost(Duration.ofMinutes(1)).until(() -> onDisk(url) == DOCUMENTS - 1);
    }
  }

  private static ServiceProcess start(Path data) throws IOException {
    // The kernels need the optimising compiler.
    return ServiceProcess.start(
        data, "-XX:TieredStopAtLevel=4", "--attune.llm.model=" + TestModel.FILE, "--attune.ranking.layer=2",
        "--attune.ranking.store-size=64MB");
  }

  private static void awaitModel(String url) {
    Awaitility.await()
        .atMost(Duration.ofMinutes(3))
        .until(() -> ServiceStartTest.get(url + "/api/v1/admin/models").contains("\"ready\""));
  }

  private static int warm(String url) throws IOException, InterruptedException {
    String answer = ServiceStartTest.get(url + SEARCH);
    Matcher matcher = WARM.matcher(answer);
    assertThat(matcher.find()).as(answer).isTrue();
    assertThat(answer).contains("\"degraded\":[]");
    return Integer.parseInt(matcher.group(1));
  }

  private static int onDisk(String url) throws IOException, InterruptedException {
    return ServiceStartTest.get(url + "/actuator/prometheus")
        .lines()
        .filter(line -> line.startsWith("attune_ranking_kv_documents{tier=\"disk\"}"))
        .mapToInt(line -> (int) Double.parseDouble(line.substring(line.indexOf(' '))))
        .findFirst()
        .orElseThrow();
  }

  private static void send(HttpRequest.Builder request) throws IOException, InterruptedException {
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpResponse<String> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
      assertThat(answer.statusCode()).as(answer.body()).isBetween(200, 299);
    }
  }
}
