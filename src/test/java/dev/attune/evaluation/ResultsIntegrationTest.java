package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;

@AttuneIntegrationTest
class ResultsIntegrationTest {

  @Autowired private RestTestClient rest;

  @Test
  void administratorsSeeTheFiguresAsTheyAreWritten() {
    JsonNode results =
        rest.get().uri("/api/v1/admin/quality/results").exchange()
            .expectStatus().isOk()
            .expectBody(JsonNode.class).returnResult().getResponseBody();
    MeasuredResult kept = Objects.requireNonNull(MeasuredResult.bundled().get("retrieval"));
    for (JsonNode result : Objects.requireNonNull(results)) {
      if (result.path("name").asString().equals("retrieval")) {
        assertThat(result.path("command").asString()).isEqualTo(kept.command());
        JsonNode row = result.path("rows").path(0);
        assertThat(row.path("keys").path("system").asString()).isEqualTo("bm25");
        assertThat(row.path("figures").path("ndcg10").asString())
            .isEqualTo(Measures.text("ndcg10", kept.rows().getFirst().figures().getOrDefault("ndcg10", 0.0)));
        assertThat(result.path("measures").findValuesAsString("title")).contains("nDCG@10");
        return;
      }
    }
    throw new AssertionError("there is no retrieval among " + results);
  }
}
