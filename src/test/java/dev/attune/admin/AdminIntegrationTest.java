package dev.attune.admin;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.knowledge.UserErased;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The read-only views of the administration. */
@AttuneIntegrationTest
class AdminIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @Autowired AuditTrail audit;
  @Autowired ApplicationEventPublisher events;

  @Test
  void overviewCountsWhatIsThere() {
    JsonNode overview = get("/api/v1/admin/overview");
    assertThat(overview.get("databaseBytes").asLong()).isPositive();
    assertThat(overview.get("model").asString()).isIn("loading", "ready", "missing", "broken");
    assertThat(overview.get("jobs").size()).isPositive();
  }

  @Test
  void jobsHaveOneShape() {
    JsonNode jobs = get("/api/v1/admin/jobs");
    assertThat(jobs.findValuesAsString("id")).contains("demo", "embed");
    assertThat(jobs).allSatisfy(job ->
        assertThat(job.get("state").asString()).isIn("off", "waiting", "running", "done", "failed"));
    assertThat(jobs.get(0).get("state").asString()).as("the demo is off in tests").isEqualTo("off");
  }

  @Test
  void modelKnowledgeBaseAndIngestionAreShown() {
    assertThat(get("/api/v1/admin/models").get(0).get("source").asString()).isNotEmpty();
    assertThat(get("/api/v1/admin/kb").get("entities").isNumber()).isTrue();
    assertThat(get("/api/v1/admin/ingestion").get("days").isArray()).isTrue();
  }

  @Test
  void usersAreListedSortedAndFound() {
    String prefix = "admin-" + UUID.randomUUID();
    StringBuilder log = new StringBuilder();
    for (int i = 0; i < 6; i++) {
      log.append(
          """
          {"query_id":"%s-%d","client_id":"c","user_query":"blade runner","timestamp":"2026-10-0%dT10:00:00Z",\
          "query_attributes":{"user_id":"%s-%s"}}
          """.formatted(prefix, i, i + 1, prefix, i < 3 ? "many" : i < 5 ? "some" : "one"));
    }
    rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON).body(log.toString()).exchange()
        .expectStatus().isOk();
    JsonNode users = get("/api/v1/admin/users?sort=-queries&q=" + prefix);
    assertThat(users.get("total").asInt()).isEqualTo(3);
    assertThat(users.get("items").findValuesAsString("userId"))
        .containsExactly(prefix + "-many", prefix + "-some", prefix + "-one");
    assertThat(users.at("/items/0/queries").asInt()).isEqualTo(3);
    assertThat(users.at("/items/0/lastSeen").asString()).isEqualTo("2026-10-03T10:00:00Z");
    assertThat(get("/api/v1/admin/users?sort=lastSeen&size=1&page=2&q=" + prefix).at("/items/0/userId").asString())
        .isEqualTo(prefix + "-one");
    assertThat(get("/api/v1/admin/users?sort=-entities&q=" + prefix).get("items").isArray()).isTrue();
    JsonNode user = get("/api/v1/admin/users/" + prefix + "-some");
    assertThat(user.get("recentQueries").size()).isEqualTo(2);
    assertThat(user.get("simulated").asBoolean()).isFalse();
    rest.get().uri("/api/v1/admin/users/nobody-" + prefix).exchange().expectStatus().isNotFound();
    rest.get().uri("/api/v1/admin/users?sort=shoeSize").exchange().expectStatus().isBadRequest();
    assertThat(get("/api/v1/admin/overview").get("queries").asInt()).isGreaterThanOrEqualTo(6);
    assertThat(get("/api/v1/admin/quality").at("/days/0/queries").asInt()).isPositive();
  }

  @Test
  void changesAreAudited() {
    String user = "audited-" + UUID.randomUUID();
    rest.delete()
        .uri("/api/v1/admin/audited-test-resource/" + user)
        .header("X-Audit-Reason", "asked by mail")
        .exchange()
        .expectStatus().is4xxClientError();
    long id = audit.begin("local", "PUT /api/v1/users/{userId}/settings", user, "asked by mail");
    JsonNode newest = find(id);
    assertThat(newest.get("subject").asString()).isEqualTo(user);
    assertThat(newest.get("reason").asString()).isEqualTo("asked by mail");
    assertThat(newest.get("status").isNull()).isTrue();
    audit.complete(id, 204);
    assertThat(find(id).get("status").asInt()).isEqualTo(204);
    events.publishEvent(new UserErased(user));
    assertThat(find(id).get("subject").asString()).isEqualTo("(erased)");
  }

  @Test
  void pagesAreChecked() {
    rest.get().uri("/api/v1/admin/audit?size=501").exchange().expectStatus().isBadRequest();
    rest.get().uri("/api/v1/admin/audit?page=-1").exchange().expectStatus().isBadRequest();
    assertThat(get("/api/v1/admin/audit?size=1").get("items").size()).isLessThanOrEqualTo(1);
  }

  private JsonNode find(long id) {
    for (JsonNode entry : get("/api/v1/admin/audit?size=500").get("items")) {
      if (entry.get("id").asLong() == id) {
        return entry;
      }
    }
    throw new AssertionError("no entry " + id);
  }

  private JsonNode get(String uri) {
    return json.readTree(rest.get().uri(uri).exchange().expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }
}
