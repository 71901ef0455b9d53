package dev.attune.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.web.server.LocalServerPort;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@AttuneIntegrationTest
class ContainerProblemsIntegrationTest {

  @Autowired JsonMapper json;
  @LocalServerPort int port;

  /** As curl sends them; ordinary clients encode them. */
  @ParameterizedTest
  @ValueSource(strings = {"/api/v1/search?q=größe", "/api/v1/search?q={a}", "/api/v1/users/x%00/entities"})
  void addressesThatCannotBeReadAreProblemsInWords(String target) throws IOException {
    String answer = get(target);
    assertThat(answer).startsWith("HTTP/1.1 400");
    assertThat(answer.toLowerCase(Locale.ROOT)).contains("content-type: application/problem+json");
    JsonNode problem = json.readTree(answer.substring(answer.indexOf('{'), answer.lastIndexOf('}') + 1));
    assertThat(problem.get("status").asInt()).isEqualTo(400);
    assertThat(problem.get("detail").asString()).contains("must be percent-encoded");
  }

  private String get(String target) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      socket.getOutputStream().write(
          ("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
              .getBytes(StandardCharsets.UTF_8));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
