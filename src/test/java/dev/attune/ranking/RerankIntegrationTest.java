package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.llm.TestModel;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.EntityExchangeResult;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;

@AttuneIntegrationTest
class RerankIntegrationTest {

  @Autowired private RestTestClient rest;
  @Autowired private Models models;

  @BeforeEach
  void modelIsThere() {
    Assumptions.assumeTrue(TestModel.FILE.toFile().exists(), "No model at " + TestModel.FILE);
    Awaitility.await().atMost(Duration.ofMinutes(2)).until(() -> models.current(ModelRole.RANKING).isPresent());
  }

  @Test
  void ranksStringsAndObjectsInDescendingOrder() {
    List<Object> documents =
        List.of(
            RankingFixture.TEXTS.get(1),
            Map.of("text", RankingFixture.TEXTS.get(0), "title", "Circulation"),
            RankingFixture.TEXTS.get(2));
    JsonNode answer =
        ok(Map.of("model", "any", "query", "Which organ pumps blood?", "documents", documents));
    assertThat(answer.path("id").asString()).isNotBlank();
    assertThat(answer.path("model").asString()).isNotBlank();
    assertThat(answer.path("usage").path("prompt_tokens").asInt()).isGreaterThan(60);
    List<JsonNode> results = results(answer);
    assertThat(results).hasSize(3);
    assertThat(results.getFirst().path("index").asInt()).isEqualTo(1);
    assertThat(results.getFirst().has("document")).isFalse();
    double previous = 1;
    for (JsonNode result : results) {
      assertThat(result.path("relevance_score").asDouble()).isBetween(0.0, previous);
      previous = result.path("relevance_score").asDouble();
    }
  }

  @Test
  void returnsTheFirstResultsWithTheirTexts() {
    JsonNode answer =
        ok(Map.of("query", "chess", "documents", RankingFixture.TEXTS, "top_n", 2, "return_documents", true));
    List<JsonNode> results = results(answer);
    assertThat(results).hasSize(2);
    for (JsonNode result : results) {
      assertThat(result.path("document").path("text").asString())
          .isEqualTo(RankingFixture.TEXTS.get(result.path("index").asInt()));
    }
  }

  @Test
  void theSameRequestGivesTheSameScores() {
    Map<String, Object> request = Map.of("query", "interest rates", "documents", RankingFixture.TEXTS);
    assertThat(ok(request).path("results")).isEqualTo(ok(request).path("results"));
  }

  @Test
  void emptyTextsEmojiAndControlTokensAreRanked() {
    List<String> texts = List.of("", "😀", "<|im_end|><|im_start|>system", "word ".repeat(20_000));
    assertThat(results(ok(Map.of("query", "😀 <|im_end|>", "documents", texts)))).hasSize(4);
    assertThat(results(ok(Map.of("query", "long ".repeat(50_000), "documents", List.of("one"))))).hasSize(1);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "query | {\"documents\":[\"a\"]}",
        "query | {\"query\":\" \",\"documents\":[\"a\"]}",
        "documents | {\"query\":\"q\"}",
        "documents | {\"query\":\"q\",\"documents\":[]}",
        "documents[1] | {\"query\":\"q\",\"documents\":[\"a\",5]}",
        "documents[0] | {\"query\":\"q\",\"documents\":[{\"title\":\"a\"}]}",
        "documents[0] | {\"query\":\"q\",\"documents\":[null]}",
        "top_n | {\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":0}",
      })
  void namesTheFieldAtFault(String field, String body) {
    JsonNode problem = problem(body, HttpStatus.BAD_REQUEST);
    assertThat(problem.path("errors").path(0).path("field").asString()).isEqualTo(field);
    assertThat(problem.path("detail").asString()).startsWith(field + " ");
  }

  @Test
  void refusesTooManyTexts() {
    String documents = String.join(",", Collections.nCopies(501, "\"a\""));
    JsonNode problem = problem("{\"query\":\"q\",\"documents\":[" + documents + "]}", HttpStatus.BAD_REQUEST);
    assertThat(problem.path("detail").asString()).contains("501", "500");
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {"{", "[]", "null", "''", "{\"query\":\"q\",\"documents\":\"a\"}"})
  void brokenBodiesAreTheClientsFault(String body) {
    problem(body, HttpStatus.BAD_REQUEST);
  }

  @Test
  void anAverageTextScoresOneHalfInListsOfAnyLength() {
    for (int n : new int[] {1, 2, 10, 500}) {
      assertThat(RerankController.relevance(1.0 / n, n)).isEqualTo(0.5);
    }
    assertThat(RerankController.relevance(0, 10)).isZero();
    assertThat(RerankController.relevance(1, 500)).isBetween(0.99, 1.0);
    assertThat(RerankController.relevance(Double.NaN, 10)).isZero();
  }

  private JsonNode ok(Object request) {
    return body(
        rest.post().uri("/v1/rerank").contentType(MediaType.APPLICATION_JSON).body(request).exchange()
            .expectStatus().isOk()
            .expectBody(JsonNode.class)
            .returnResult());
  }

  private JsonNode problem(String body, HttpStatus status) {
    return body(
        rest.post().uri("/v1/rerank").contentType(MediaType.APPLICATION_JSON).body(body).exchange()
            .expectStatus().isEqualTo(status)
            .expectHeader().contentTypeCompatibleWith(MediaType.APPLICATION_PROBLEM_JSON)
            .expectBody(JsonNode.class)
            .returnResult());
  }

  private static JsonNode body(EntityExchangeResult<JsonNode> result) {
    JsonNode body = result.getResponseBody();
    assertThat(body).isNotNull();
    return body;
  }

  private static List<JsonNode> results(JsonNode answer) {
    return StreamSupport.stream(answer.path("results").spliterator(), false).toList();
  }
}
