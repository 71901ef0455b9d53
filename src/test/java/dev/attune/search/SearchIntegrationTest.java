package dev.attune.search;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.SearchLog;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@AttuneIntegrationTest
class SearchIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired DocumentIndex index;
  @Autowired SearchLog searchLog;
  @Autowired JsonMapper json;

  @BeforeEach
  void documents() {
    index.put(
        List.of(
            film("search-1", "Zorvax Rising", "A pilot crosses the zorvax desert.",
                "Ada Quill", "Science Fiction", 1991),
            film("search-2", "Zorvax Falling", "The zorvax desert takes its pilot back.", "Bo Tern", "Drama", 1999),
            film("search-3", "Return to Zorvax", "Old friends meet in zorvax <b>again</b>.",
                "Ada Quill", "Drama", 2005)));
  }

  private static Document film(String id, String title, String text, String director, String genre, int year) {
    return new Document(
        id, title, text, null, null, Map.of("director", director, "genres", List.of(genre), "year", year));
  }

  @Test
  void answersWithEveryFieldOfTheContract() {
    JsonNode answer = // By words: vectors find the documents of other tests, too.
        search("{\"query\":\"zorvax pilot\",\"retrieval\":\"lexical\",\"explain\":true,\"facets\":[\"genres\"]}");
    assertThat(answer.propertyNames())
        .contains("queryId", "total", "hits", "facets", "timings", "ranking", "degraded", "memory");
    assertThat(answer.get("total").asLong()).isEqualTo(3);
    JsonNode hit = answer.get("hits").get(0);
    assertThat(hit.propertyNames())
        .contains("id", "title", "snippet", "url", "image", "fields", "score", "rank", "retrievalRank", "scores", "why",
            "explanation");
    assertThat(hit.get("scores").propertyNames()).containsExactly("lexical", "dense", "blockrank", "affinity");
    assertThat(hit.get("rank").asInt()).isEqualTo(1);
    assertThat(hit.get("snippet").asString()).contains("<mark>");
    assertThat(answer.get("timings").propertyNames()).containsExactly("retrieveMs", "rankMs", "totalMs");
    assertThat(answer.get("ranking").propertyNames())
        .containsExactly("model", "attention", "documents", "warmDocuments");
    assertThat(answer.at("/facets/genres").size()).isEqualTo(2);
  }

  @Test
  void everyRequestHasAQueryIdOfItsOwn() {
    assertThat(search("{\"query\":\"zorvax\"}").get("queryId"))
        .isNotEqualTo(search("{\"query\":\"zorvax\"}").get("queryId"));
  }

  @Test
  void filtersByValueListAndRange() {
    assertThat(ids(byWords("{\"director\":\"Bo Tern\"}"))).containsExactly("search-2");
    assertThat(ids(byWords("{\"genres\":[\"Drama\"],\"year\":{\"gte\":2000}}")))
        .containsExactly("search-3");
    assertThat(ids(byWords("{\"year\":1991}"))).containsExactly("search-1");
    assertThat(ids(get("/api/v1/search?q=zorvax&filter.genres=Drama&size=1"))).hasSize(1).doesNotContain("search-1");
  }

  /** Filtered search by words alone: vectors find the documents of other tests, too. */
  private JsonNode byWords(String filters) {
    return search("{\"query\":\"zorvax\",\"retrieval\":\"lexical\",\"filters\":" + filters + "}");
  }

  @Test
  void pagesDoNotOverlap() {
    JsonNode whole = search("{\"query\":\"zorvax\",\"ranking\":\"retrieval\"}");
    Set<String> seen = new HashSet<>();
    for (int from = 0; from < 3; from++) {
      JsonNode page = search("{\"query\":\"zorvax\",\"ranking\":\"retrieval\",\"size\":1,\"from\":" + from + "}");
      assertThat(page.at("/hits/0/rank").asInt()).isEqualTo(from + 1);
      assertThat(page.at("/hits/0/id")).isEqualTo(whole.at("/hits/" + from + "/id"));
      assertThat(seen.add(page.at("/hits/0/id").asString())).isTrue();
    }
    assertThat(search("{\"query\":\"zorvax\",\"from\":400}").get("hits").size()).isZero();
  }

  @Test
  void logsAUsersQueryOnceAndNobodyElses() {
    String user = "search-user-logged";
    JsonNode answer = search("{\"query\":\"zorvax desert\",\"userId\":\"" + user + "\",\"sessionId\":\"s1\"}");
    search("{\"query\":\"zorvax desert\",\"userId\":\"" + user + "\",\"size\":1,\"from\":1}");
    assertThat(searchLog.recentQueries(user, 10))
        .singleElement()
        .satisfies(
            query -> {
              assertThat(query.queryId()).isEqualTo(answer.get("queryId").asString());
              assertThat(query.text()).isEqualTo("zorvax desert");
              assertThat(query.resultIds()).isEqualTo(ids(answer));
            });
    JsonNode anonymous = search("{\"query\":\"zorvax desert\"}");
    assertThat(searchLog.findQuery(anonymous.get("queryId").asString())).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"query\":\"\"}",
        "{\"query\":\"   \"}",
        "{\"query\":\"😀😀 \\u0000 \\u202e\"}",
        "{\"query\":\"\\\" AND (title:* OR ~\\\\\"}",
        "{\"query\":\"zorvax\",\"userId\":\"search-nobody-ever-seen\"}",
        "{\"query\":\"zorvax\",\"budgetMs\":1}",
        "{\"query\":\"qwxzzy nothing holds this\",\"retrieval\":\"lexical\"}",
        "{\"query\":\"zorvax\",\"filters\":{\"nofield\":\"x\"}}"
      })
  void strangeRequestsAreAnswered(String body) {
    JsonNode answer = search(body);
    assertThat(answer.get("hits").isArray()).isTrue();
  }

  @Test
  void aPageOfEmojiIsIndexedFoundAndSuggestedFor() {
    String page = "😀🎉👩‍👩‍👧‍👦🇳🇴".repeat(1_000);
    index.put(List.of(new Document(
        "search-emoji", "🎬 zorvaxmoji 🎬", page, null, null, Map.of("genres", List.of("🎭")))));
    JsonNode answer = search(
        "{\"query\":\"zorvaxmoji 😀🎉\",\"userId\":\"search-emoji-user\",\"retrieval\":\"lexical\"}");
    assertThat(ids(answer)).contains("search-emoji");
    assertThat(search("{\"query\":\"" + "😀".repeat(2_000) + "\"}").get("hits").isArray()).isTrue();
    rest.post().uri("/api/v1/suggestions").contentType(MediaType.APPLICATION_JSON)
        .body("{\"userId\":\"search-emoji-user\",\"budgetMs\":500,"
            + "\"page\":{\"title\":\"🎬\",\"text\":\"" + page + "\"}}")
        .exchange().expectStatus().isOk();
    index.delete("search-emoji");
  }

  @Test
  void badRequestsNameTheField() {
    bad("{\"query\":\"zorvax\",\"size\":1000}", "size");
    bad("{\"query\":\"" + "x".repeat(10_001) + "\"}", "query");
    bad("{}", "query");
    for (String user : List.of("\\u0000", "\\ud800", "x".repeat(257))) {
      bad("{\"query\":\"zorvax\",\"userId\":\"" + user + "\"}", "userId");
    }
    bad("{\"query\":\"zorvax\",\"size\":\"ten\"}", "size");
    bad("{\"query\":[\"zorvax\"]}", "query");
    rest.get().uri("/api/v1/search").exchange().expectStatus().isBadRequest();
    rest.get().uri("/api/v1/search?q=a&size=ten").exchange().expectStatus().isBadRequest();
    rest.get().uri("/api/v1/complete").exchange().expectStatus().isBadRequest();
  }

  @Test
  void everyUserOfTheLogCanSearchAndHasAStore() {
    String user = "search-" + "u".repeat(249);
    rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON)
        .body("{\"user_id\":\"" + user + "\",\"user_query\":\"zorvax\"}").exchange()
        .expectStatus().isOk().expectBody().jsonPath("$.accepted").isEqualTo(1);
    search("{\"query\":\"zorvax\",\"userId\":\"" + user + "\"}");
    rest.post().uri("/api/v1/suggestions").contentType(MediaType.APPLICATION_JSON)
        .body("{\"budgetMs\":500,\"userId\":\"" + user + "\"}").exchange().expectStatus().isOk();
    rest.get().uri("/api/v1/users/" + user + "/entities").exchange().expectStatus().isOk();
    rest.get().uri("/api/v1/users/" + user + "u/entities").exchange().expectStatus().isBadRequest();
  }

  @Test
  void aBodyOfMoreThanAMegabyteIsRefused() {
    rest.post().uri("/api/v1/search").contentType(MediaType.APPLICATION_JSON)
        .body("{\"query\":\"" + "x".repeat(1 << 20) + "\"}")
        .exchange().expectStatus().isEqualTo(413);
  }

  private void bad(String body, String field) {
    rest.post().uri("/api/v1/search").contentType(MediaType.APPLICATION_JSON).body(body).exchange()
        .expectStatus().isBadRequest()
        .expectBody().jsonPath("$.errors[0].field").isEqualTo(field);
  }

  private JsonNode search(String body) {
    return json.readTree(
        rest.post().uri("/api/v1/search").contentType(MediaType.APPLICATION_JSON).body(body).exchange()
            .expectStatus().isOk().returnResult(String.class).getResponseBody());
  }

  private JsonNode get(String uri) {
    return json.readTree(
        rest.get().uri(uri).exchange().expectStatus().isOk().returnResult(String.class).getResponseBody());
  }

  private static List<String> ids(JsonNode answer) {
    return answer.get("hits").valueStream().map(hit -> hit.get("id").asString()).toList();
  }
}
