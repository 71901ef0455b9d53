package dev.attune.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.HttpMethod;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Bad requests are answered by a problem that names the field at fault. */
@AttuneIntegrationTest
class ProblemsIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;

  static Stream<Arguments> badBodies() {
    return Stream.of(
        Arguments.of("{\"query\":\" \"}", "query", "must not be blank"),
        Arguments.of("{\"query\":\"a\",\"size\":501}", "size", "must be less than or equal to 500"),
        Arguments.of("{\"query\":\"a\",\"size\":\"many\"}", "size", "must be a number"),
        Arguments.of("{\"query\":\"a\",\"kind\":\"huge\"}", "kind", "must be one of small, large"),
        Arguments.of("{\"query\":\"a\",\"parts\":[{\"number\":1},{\"number\":{}}]}", "parts[1].number",
            "must be a number"),
        Arguments.of("{\"query\":\"a\",\"parts\":7}", "parts", "must be a list"));
  }

  @ParameterizedTest
  @MethodSource("badBodies")
  void badFieldsAreNamed(String body, String field, String message) {
    JsonNode problem = post(body, MediaType.APPLICATION_JSON, 400);
    assertThat(problem.at("/errors/0/field").asString()).isEqualTo(field);
    assertThat(problem.at("/errors/0/message").asString()).isEqualTo(message);
    assertThat(problem.get("detail").asString()).isEqualTo(field + " " + message);
  }

  @Test
  void bodiesThatCannotBeRead() {
    assertThat(post("{\"query\":", MediaType.APPLICATION_JSON, 400).get("detail").asString())
        .contains("not valid JSON");
    assertThat(post("", MediaType.APPLICATION_JSON, 400).get("detail").asString()).contains("missing");
    post("query=a", MediaType.APPLICATION_FORM_URLENCODED, 415);
    post("x", MediaType.MULTIPART_FORM_DATA, 415);
    assertThat(post("{\"query\":\"" + "x".repeat(1_100_000) + "\"}", MediaType.APPLICATION_JSON, 413)
            .get("detail").asString())
        .contains("attune.web.max-body");
  }

  @Test
  void aBodyOfUnknownLengthIsLimitedToo() {
    JsonNode problem =
        problem(
            rest.post()
                .uri("/api/v1/probe/items")
                .contentType(MediaType.APPLICATION_NDJSON)
                .body(new org.springframework.core.io.InputStreamResource(
                    new java.io.ByteArrayInputStream(new byte[2_000_000])))
                .exchange(),
            413);
    assertThat(problem.get("detail").asString()).contains("attune.web.max-body");
  }

  @Test
  void parametersAndPaths() {
    assertThat(get("/api/v1/probe?size=many", 400).at("/errors/0/field").asString()).isEqualTo("size");
    assertThat(get("/api/v1/probe?size=11", 400).at("/errors/0/field").asString()).isEqualTo("size");
    assertThat(get("/api/v1/probe", 400).get("detail").asString()).isEqualTo("size is missing");
    assertThat(get("/api/v1/probe/7", 404).get("detail").asString()).isEqualTo("There is no probe with the id 7.");
    get("/api/v1/no-such-resource", 404);
    problem(rest.method(HttpMethod.DELETE).uri("/api/v1/probe").exchange(), 405);
  }

  @Test
  void nothingOfTheInsideIsShown() {
    JsonNode problem = get("/api/v1/probe/broken", 500);
    assertThat(problem.toString()).doesNotContain("secret").doesNotContain("Exception");
    assertThat(problem.get("reference").asString()).isNotEmpty();
  }

  private JsonNode post(String body, MediaType type, int status) {
    return problem(rest.post().uri("/api/v1/probe").contentType(type).body(body).exchange(), status);
  }

  private JsonNode get(String uri, int status) {
    return problem(rest.get().uri(uri).exchange(), status);
  }

  private JsonNode problem(RestTestClient.ResponseSpec response, int status) {
    byte[] body =
        response
            .expectStatus().isEqualTo(status)
            .expectHeader().contentTypeCompatibleWith(MediaType.APPLICATION_PROBLEM_JSON)
            .expectBody().returnResult().getResponseBody();
    JsonNode problem = json.readTree(body);
    assertThat(problem.get("status").asInt()).isEqualTo(status);
    return problem;
  }
}
