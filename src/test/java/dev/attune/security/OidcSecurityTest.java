package dev.attune.security;

import static org.assertj.core.api.Assertions.assertThat;

import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.crypto.RSASSASigner;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.RSAKey;
import com.nimbusds.jose.jwk.gen.RSAKeyGenerator;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import com.sun.net.httpserver.HttpServer;
import dev.attune.ServiceProcess;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.Date;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** OIDC mode against an issuer whose keys are served by this test. */
class OidcSecurityTest {

  @TempDir static Path temporary;
  private static RSAKey key;
  private static RSAKey otherKey;
  private static HttpServer issuer;
  private static ServiceProcess service;
  private static String url;
  private final HttpClient client = HttpClient.newHttpClient();

  @BeforeAll
  static void start() throws Exception {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
    key = new RSAKeyGenerator(2048).keyID("test").generate();
    otherKey = new RSAKeyGenerator(2048).keyID("test").generate();
    issuer = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    issuer.createContext(
        "/keys",
        exchange -> {
          byte[] keys = new JWKSet(key.toPublicJWK()).toString().getBytes(StandardCharsets.UTF_8);
          exchange.getResponseHeaders().set("Content-Type", "application/json");
          exchange.sendResponseHeaders(200, keys.length);
          exchange.getResponseBody().write(keys);
          exchange.close();
        });
    issuer.start();
    service =
        ServiceProcess.start(
            temporary.resolve("data"),
            "--attune.security.mode=oidc",
            "--attune.security.rate-limit.per-second=1",
            "--attune.security.rate-limit.burst=30",
            "--spring.security.oauth2.resourceserver.jwt.jwk-set-uri=http://127.0.0.1:"
                + issuer.getAddress().getPort() + "/keys");
    url = service.awaitUrl();
  }

  @AfterAll
  static void stop() throws Exception {
    service.close();
    issuer.stop(0);
  }

  @Test
  void noOrForeignTokensAreRefused() throws Exception {
    assertThat(get("/api/v1/admin/overview", null)).isEqualTo(401);
    assertThat(get("/api/v1/documents/1", null)).isEqualTo(401);
    assertThat(get("/api/v1/documents/1", token(otherKey, "ada", "attune:admin", 60))).isEqualTo(401);
    assertThat(get("/api/v1/documents/1", token(key, "ada", "attune:admin", -600))).isEqualTo(401);
    assertThat(get("/api/v1/documents/1", "not.a.token")).isEqualTo(401);
    assertThat(get("/actuator/health", null)).isEqualTo(200);
    assertThat(get("/actuator/prometheus", null)).isEqualTo(401);
  }

  @Test
  void scopesOpenTheirPart() throws Exception {
    String admin = token(key, "root", "attune:admin", 60);
    String ingest = token(key, "pipeline", "attune:ingest", 60);
    String search = token(key, "ada", "attune:search", 60);
    assertThat(get("/api/v1/admin/overview", admin)).isEqualTo(200);
    assertThat(get("/actuator/prometheus", admin)).isEqualTo(200);
    assertThat(get("/api/v1/admin/overview", ingest)).isEqualTo(403);
    assertThat(get("/api/v1/admin/overview", search)).isEqualTo(403);
    assertThat(merge("/api/v1/admin/users/ada/merge/ben", null)).isEqualTo(401);
    assertThat(merge("/api/v1/admin/users/ada/merge/ben", search)).as("not even oneself").isEqualTo(403);
    assertThat(merge("/api/v1/admin/users/ada/merge/ben", admin)).as("no such users yet").isEqualTo(404);
    // Allowed through security, and then no such document.
    assertThat(get("/api/v1/documents/none", search)).isEqualTo(404);
    assertThat(get("/api/v1/documents/none", ingest)).isEqualTo(404);
    assertThat(delete("/api/v1/documents/none", search)).isEqualTo(403);
    assertThat(delete("/api/v1/documents/none", ingest)).isNotIn(401, 403);
  }

  @Test
  void aSearcherReachesOnlyOneself() throws Exception {
    String ada = token(key, "ada", "attune:search", 60);
    String admin = token(key, "root", "attune:admin", 60);
    assertThat(get("/api/v1/users/ben/settings", ada)).isEqualTo(403);
    assertThat(get("/api/v1/users/ada/settings", ada)).isNotIn(401, 403);
    assertThat(get("/api/v1/users/ben/settings", admin)).isNotIn(401, 403);
    assertThat(get("/api/v1/search?q=x&userId=ben", ada)).isEqualTo(403);
    assertThat(get("/api/v1/search?q=x&userId=ada", ada)).isNotIn(401, 403);
  }

  @Test
  void whoAsksTooOftenIsToldWhenToComeAgain() throws Exception {
    String hasty = token(key, "hasty", "attune:search", 60);
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(url + "/api/v1/documents/none"))
            .header("Authorization", "Bearer " + hasty)
            .build();
    HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
    for (int i = 0; i < 300 && answer.statusCode() == 404; i++) {
      answer = client.send(request, HttpResponse.BodyHandlers.ofString());
    }
    assertThat(answer.statusCode()).isEqualTo(429);
    assertThat(answer.headers().firstValue("Content-Type")).hasValue("application/problem+json");
    assertThat(answer.body()).contains("\"status\":429", "attune.security.rate-limit");
    long seconds = Long.parseLong(answer.headers().firstValue("Retry-After").orElseThrow());
    assertThat(seconds).isBetween(1L, 2L);
    assertThat(get("/api/v1/documents/none", token(key, "calm", "attune:search", 60))).isEqualTo(404);
    assertThat(get("/actuator/health", hasty)).isEqualTo(200);
    Thread.sleep(1000 * seconds + 100);
    assertThat(get("/api/v1/documents/none", hasty)).isEqualTo(404);
  }

  @Test
  void withoutATokenTheAddressCounts() throws Exception {
    // Another address of this machine, so that the other tests are not limited.
    int status = 0;
    for (int i = 0; i < 300 && status != 429; i++) {
      status = anonymousFrom("127.0.0.2");
      assertThat(status).isIn(401, 429);
    }
    assertThat(status).isEqualTo(429);
    assertThat(get("/api/v1/documents/none", null)).isEqualTo(401);
  }

  private static int anonymousFrom(String address) throws IOException {
    URI service = URI.create(url);
    try (Socket socket = new Socket()) {
      socket.bind(new InetSocketAddress(address, 0));
      socket.connect(new InetSocketAddress("127.0.0.1", service.getPort()));
      socket.getOutputStream().write(
          "GET /api/v1/documents/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
              .getBytes(StandardCharsets.US_ASCII));
      String head = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return Integer.parseInt(head.substring(9, 12));
    }
  }

  private int get(String path, @Nullable String token) throws Exception {
    return send(HttpRequest.newBuilder(URI.create(url + path)), token);
  }

  private int merge(String path, @Nullable String token) throws Exception {
    return send(HttpRequest.newBuilder(URI.create(url + path)).POST(HttpRequest.BodyPublishers.noBody()), token);
  }

  private int delete(String path, String token) throws Exception {
    return send(HttpRequest.newBuilder(URI.create(url + path)).DELETE(), token);
  }

  private int send(HttpRequest.Builder request, @Nullable String token)
      throws IOException, InterruptedException {
    if (token != null) {
      request.header("Authorization", "Bearer " + token);
    }
    return client.send(request.build(), HttpResponse.BodyHandlers.discarding()).statusCode();
  }

  private static String token(RSAKey signer, String subject, String scope, int secondsValid) throws JOSEException {
    Instant now = Instant.now();
    SignedJWT jwt =
        new SignedJWT(
            new JWSHeader.Builder(JWSAlgorithm.RS256).keyID("test").build(),
            new JWTClaimsSet.Builder()
                .subject(subject)
                .claim("scope", scope)
                .issueTime(Date.from(now.minusSeconds(1000)))
                .expirationTime(Date.from(now.plusSeconds(secondsValid)))
                .build());
    jwt.sign(new RSASSASigner(signer));
    return jwt.serialize();
  }
}
