package dev.attune.security;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.io.IOException;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.web.server.LocalServerPort;
import org.springframework.test.web.servlet.client.RestTestClient;

/** Local mode: no login, but no way in for other web sites. */
@AttuneIntegrationTest
class LocalSecurityIntegrationTest {

  @Autowired RestTestClient rest;
  @LocalServerPort int port;

  @Test
  void unknownHostNamesAreRefused() throws IOException {
    assertThat(raw("GET /actuator/health HTTP/1.1\r\nHost: evil.example:" + port)).startsWith("HTTP/1.1 403");
    assertThat(raw("GET /actuator/health HTTP/1.1\r\nHost: localhost:" + port)).startsWith("HTTP/1.1 200");
    assertThat(raw("GET /actuator/health HTTP/1.1\r\nHost: [::1]:" + port)).startsWith("HTTP/1.1 200");
  }

  @Test
  void otherSitesCannotWriteOrRead() throws IOException {
    String post = "POST /api/v1/probe HTTP/1.1\r\nHost: localhost:" + port
        + "\r\nContent-Type: application/json\r\nContent-Length: 13\r\n";
    String body = "\r\n\r\n{\"query\":\"a\"}";
    assertThat(raw(post + "Sec-Fetch-Site: cross-site" + body)).startsWith("HTTP/1.1 403");
    assertThat(raw(post + "Sec-Fetch-Site: same-site" + body)).startsWith("HTTP/1.1 403");
    assertThat(raw(post + "Origin: https://evil.example" + body)).startsWith("HTTP/1.1 403");
    assertThat(raw(post + "Origin: null" + body)).startsWith("HTTP/1.1 403");
    assertThat(raw(post + "Origin: http://localhost:" + port + body)).startsWith("HTTP/1.1 200");
    assertThat(raw(post + "Sec-Fetch-Site: same-origin" + body)).startsWith("HTTP/1.1 200");
    assertThat(raw(post + "Accept: */*" + body)).startsWith("HTTP/1.1 200");
    assertThat(raw("GET /api/v1/probe?size=1 HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site"))
        .startsWith("HTTP/1.1 403");
  }

  @Test
  void corsIsClosed() throws IOException {
    String answer = raw("OPTIONS /api/v1/probe HTTP/1.1\r\nHost: localhost:" + port
        + "\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST");
    assertThat(answer).startsWith("HTTP/1.1 403").doesNotContainIgnoringCase("Access-Control-Allow-Origin");
  }

  @Test
  void answersCarrySecurityHeaders() {
    rest.get()
        .uri("/api/v1/probe?size=1")
        .exchange()
        .expectStatus().isOk()
        .expectHeader().value("Content-Security-Policy", policy ->
            assertThat(policy).contains("default-src 'self'", "https://image.tmdb.org", "frame-ancestors 'none'"))
        .expectHeader().valueEquals("X-Content-Type-Options", "nosniff")
        .expectHeader().valueEquals("X-Frame-Options", "DENY")
        .expectHeader().valueEquals("Referrer-Policy", "same-origin");
  }

  private String raw(String request) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      OutputStream out = socket.getOutputStream();
      String head = request.contains("\r\n\r\n") ? request : request + "\r\n\r\n";
      out.write(head.replaceFirst("\r\n", "\r\nConnection: close\r\n").getBytes(StandardCharsets.US_ASCII));
      out.flush();
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
