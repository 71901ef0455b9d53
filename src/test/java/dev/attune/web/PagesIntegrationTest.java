package dev.attune.web;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.attune.AttuneIntegrationTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.core.io.ClassPathResource;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Pages, the description of the API, and what operators read. */
@AttuneIntegrationTest
class PagesIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;

  @ParameterizedTest
  @ValueSource(strings = {"/", "/store", "/admin", "/admin/users/ana@example.org", "/help"})
  void everyPageIsTheApplication(String path) {
    assumeTrue(new ClassPathResource("static/index.html").exists(), "the pages were not built (-Dskip.frontend)");
    rest.get().uri(path).accept(MediaType.TEXT_HTML).exchange()
        .expectStatus().isOk()
        .expectHeader().contentTypeCompatibleWith(MediaType.TEXT_HTML)
        .expectHeader().valueEquals("Cache-Control", "no-cache")
        .expectBody(String.class).value(page -> assertThat(page).contains("<div id=\"root\">"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"/no-such-file.js", "/assets/no-such.css", "/api/v1/nothing", "/v1/nothing", "/actuator/env"})
  void otherPathsAreNotPages(String path) {
    rest.get().uri(path).accept(MediaType.TEXT_HTML, MediaType.ALL).exchange().expectStatus().isNotFound();
  }

  @Test
  void whatIsNotThereIsAProblemInWords() {
    JsonNode problem = json.readTree(rest.get().uri("/api/v1/nothing").exchange().expectStatus().isNotFound()
        .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON)
        .expectBody().returnResult().getResponseBody());
    assertThat(problem.get("detail").asString()).isEqualTo("There is nothing at /api/v1/nothing.");
  }

  @Test
  void theApiIsDescribed() {
    JsonNode api = json.readTree(rest.get().uri("/v3/api-docs").exchange().expectStatus().isOk()
        .expectBody().returnResult().getResponseBody());
    assertThat(api.get("openapi").asString()).startsWith("3.1");
    assertThat(api.at("/info/title").asString()).isEqualTo("Attune");
    assertThat(api.get("paths").propertyNames()).contains("/api/v1/admin/overview", "/api/v1/admin/users/{userId}");
    String page = rest.get().uri("/swagger-ui/index.html").exchange().expectStatus().isOk()
        .expectBody(String.class).returnResult().getResponseBody();
    assertThat(page).as("inline scripts would be stopped by the Content-Security-Policy")
        .contains("swagger-initializer.js").doesNotContain("<script>");
  }

  @Test
  void operatorsSeeHealthAndMetrics() {
    rest.get().uri("/actuator/health/readiness").exchange().expectStatus().isOk();
    rest.get().uri("/actuator/health/liveness").exchange().expectStatus().isOk();
    assertThat(rest.get().uri("/actuator/prometheus").exchange().expectStatus().isOk()
            .expectBody(String.class).returnResult().getResponseBody())
        .contains("jvm_memory_used_bytes");
  }
}
