package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import dev.attune.AttuneIntegrationTest;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** An administrator fixes what a name means, with the whole service. */
@AttuneIntegrationTest
class LinkerOverrideIntegrationTest {

  private static final String OVERRIDES = "/api/v1/admin/linker/overrides";

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @Autowired KnowledgeBase knowledge;
  @Autowired LinkerOverrides overrides;
  @Autowired EntityLinker linker;

  @BeforeEach
  void twoOfOneName() {
    knowledge.importAll("test", Stream.of(
        new Entity("lov:river", "Lovquilla", List.of("Lovquilla River"), "place", null, 0.6, List.of()),
        new Entity("lov:band", "Lovquilla", List.of("The Lovquillas"), "band", null, 0.2, List.of())));
  }

  @AfterEach
  void leaveNone() {
    overrides.all().keySet().stream().filter(alias -> alias.startsWith("lov")).toList().forEach(overrides::remove);
  }

  @Test
  void holdsAtOnceIsListedAndIsTakenBack() {
    assertThat(linked("Lovquilla")).containsExactly("lov:river");
    JsonNode answer = put("LÓVQUILLA!", "{\"entityId\":\"lov:band\"}", 200);
    assertThat(answer.toString()).isEqualTo(
        "{\"alias\":\"lovquilla\",\"entityId\":\"lov:band\",\"label\":\"Lovquilla\",\"type\":\"band\"}");
    assertThat(linked("Lovquilla")).containsExactly("lov:band");
    put("lovquilla", "{\"entityId\":null}", 200);
    assertThat(linked("Lovquilla")).isEmpty();
    put("lovzzz", "{\"entityId\":\"lov:river\"}", 200);
    JsonNode list = get(OVERRIDES + "?q=Lov");
    assertThat(list.get("total").asInt()).isEqualTo(2);
    assertThat(list.get("items").findValuesAsString("alias")).containsExactly("lovquilla", "lovzzz");
    assertThat(list.at("/items/0/entityId").isNull()).isTrue();
    assertThat(get(OVERRIDES + "?q=lov&page=1&size=1").get("items").findValuesAsString("alias"))
        .containsExactly("lovzzz");
    rest.delete().uri(OVERRIDES + "/Lovquilla").header("X-Audit-Reason", "was wrong").exchange()
        .expectStatus().isNoContent();
    assertThat(linked("Lovquilla")).containsExactly("lov:river");
    JsonNode audited = get("/api/v1/admin/audit?size=1").at("/items/0");
    assertThat(audited.get("action").asString()).isEqualTo("DELETE /api/v1/admin/linker/overrides/{alias}");
    assertThat(audited.get("subject").asString()).isEqualTo("Lovquilla");
    assertThat(audited.get("reason").asString()).isEqualTo("was wrong");
    rest.delete().uri(OVERRIDES + "/Lovquilla").exchange().expectStatus().isNotFound()
        .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON);
  }

  @Test
  void storesKeepWhatWasLinkedBeforeUntilTheyAreRebuilt() {
    String user = "lov-" + UUID.randomUUID();
    search(user, "1", "lovquilla");
    assertThat(known(user)).containsExactly("lov:river");
    put("lovquilla", "{\"entityId\":\"lov:band\"}", 200);
    search(user, "2", "lovquilla tour");
    assertThat(known(user)).containsExactlyInAnyOrder("lov:river", "lov:band");
    rest.post().uri("/api/v1/admin/jobs/rebuild").exchange().expectStatus().isEqualTo(202);
    await().atMost(Duration.ofSeconds(60)).untilAsserted(
        () -> assertThat(get("/api/v1/admin/jobs").valueStream()
            .filter(job -> job.get("id").asString().equals("rebuild")).findFirst().orElseThrow().get("state")
            .asString()).isEqualTo("done"));
    assertThat(known(user)).containsExactly("lov:band");
  }

  @ParameterizedTest
  @CsvSource(
      quoteCharacter = '`',
      value = {
        "lovquilla, `{}`, entityId",
        "lovquilla, `{\"entityId\":7}`, entityId",
        "lovquilla, `{\"entityId\":\"lov:nobody\"}`, entityId",
        "`!`, `{\"entityId\":null}`, alias",
        "lovquilla, `{\"entityId\":`,",
        "lovquilla, `[]`,"
      })
  void badRequestsAreProblems(String alias, String body, String field) {
    JsonNode problem = put(alias, body, 400);
    if (field != null) {
      assertThat(problem.at("/errors/0/field").asString()).isEqualTo(field);
    }
    assertThat(overrides.all()).doesNotContainKeys("lovquilla", "");
  }

  @Test
  void aliasesHaveALimitAndSoHaveBodies() {
    assertThat(put("lov".repeat(67), "{\"entityId\":null}", 400).at("/errors/0/field").asString()).isEqualTo("alias");
    put("lovquilla", "{\"entityId\":\"" + "x".repeat(1 << 20) + "\"}", 413);
    rest.get().uri(OVERRIDES + "?size=501").exchange().expectStatus().isBadRequest();
  }

  private List<String> linked(String text) {
    return linker.link(text, LinkContext.NONE).stream().map(Mention::entityId).toList();
  }

  private List<String> known(String user) {
    return get("/api/v1/users/" + user + "/entities").get("items").findValuesAsString("entityId");
  }

  private void search(String user, String id, String query) {
    rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON)
        .body("{\"query_id\":\"%s-%s\",\"user_query\":\"%s\",\"query_attributes\":{\"user_id\":\"%1$s\"}}"
            .formatted(user, id, query))
        .exchange().expectStatus().isOk();
  }

  private JsonNode put(String alias, String body, int status) {
    return json.readTree(
        rest.put().uri(URI.create(OVERRIDES + "/" + URLEncoder.encode(alias, StandardCharsets.UTF_8)))
            .contentType(MediaType.APPLICATION_JSON).body(body).exchange()
            .expectStatus().isEqualTo(status)
            .expectHeader().contentType(status == 200 ? MediaType.APPLICATION_JSON : MediaType.APPLICATION_PROBLEM_JSON)
            .expectBody().returnResult().getResponseBody());
  }

  private JsonNode get(String uri) {
    return json.readTree(
        rest.get().uri(uri).exchange().expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }
}
