package dev.attune.admin;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.knowledge.UserErased;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationEventPublisher;
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
