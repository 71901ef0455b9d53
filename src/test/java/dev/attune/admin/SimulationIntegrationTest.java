package dev.attune.admin;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.awaitility.Awaitility.await;

import dev.attune.AttuneIntegrationTest;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.llm.TestModel;
import dev.attune.ranking.DocumentWarming;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.MediaType;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A simulation shows what the user would get, and the service stays as it was. */
@AttuneIntegrationTest
class SimulationIntegrationTest {

  private static final String DIRECTOR = "Quenby Ostrava";
  private static final String QUERY = "murgwell comet";

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @Autowired DocumentIndex index;
  @Autowired JdbcClient jdbc;
  @Autowired Models models;
  @Autowired MeterRegistry metrics;
  @Autowired DocumentWarming warming;

  private final String user = "simulated-" + UUID.randomUUID();

  @BeforeEach
  void filmsAndAUser() {
    Assumptions.assumeTrue(
        TestModel.FILE.toFile().exists(), "No model at " + TestModel.FILE + "; fetch it with python3 models/fetch.py");
    // New texts for every test: nobody has read them.
    String salt = UUID.randomUUID().toString().substring(0, 8);
    index.put(
        List.of(
            film("simulation-1", "Comet over Murgwell", "A comet is seen above murgwell. " + salt, "Ib Larn"),
            film("simulation-2", "Murgwell Nights", "The comet comes back to murgwell. " + salt, "Ib Larn"),
            film("simulation-3", "The Last Comet", "A murgwell baker waits for a comet. " + salt, DIRECTOR),
            film("simulation-4", "Comet Season", "Murgwell sells comet cakes. " + salt, "Tyra Bohn")));
    Instant now = Instant.now();
    StringBuilder log = new StringBuilder();
    for (int i = 0; i < 4; i++) {
      log.append(
          """
          {"query_id":"%s-%d","user_query":"films by quenby ostrava","timestamp":"%s",\
          "query_attributes":{"user_id":"%1$s"}}
          """.formatted(user, i, now.minus(Duration.ofHours(2 + i))));
    }
    rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON).body(log.toString()).exchange()
        .expectStatus().isOk();
    await().atMost(Duration.ofMinutes(3)).until(() -> models.current(ModelRole.SUGGESTION).isPresent());
  }

  private static Document film(String id, String title, String text, String director) {
    return new Document(id, title, text, null, null, Map.of("director", director, "genres", List.of("Murgwell")));
  }

  @Test
  void showsWhatTheUserGetsAndWhatEverybodyGetsWithPromptsAndAttention() {
    JsonNode simulation = simulate(QUERY);
    JsonNode mine = simulation.get("asUser");
    JsonNode others = simulation.get("withoutUser");
    assertThat(mine.at("/search/hits").findValuesAsString("id")).contains("simulation-3");
    assertThat(hit(mine, "simulation-3").at("/why/0/label").asString()).isEqualTo(DIRECTOR);
    assertThat(hit(others, "simulation-3").get("why").size()).isZero();
    assertThat(hit(others, "simulation-3").at("/scores/affinity").isNull()).isTrue();
    assertThat(hit(mine, "simulation-3").get("rank").asInt())
        .isLessThanOrEqualTo(hit(others, "simulation-3").get("rank").asInt());

    for (JsonNode outcome : List.of(mine, others)) {
      JsonNode prompt = outcome.get("rankingPrompt");
      assertThat(prompt.at("/instruction/text").asString()).startsWith("<|im_start|>system");
      assertThat(prompt.at("/last/text").asString()).contains("Query: " + QUERY + "<|im_end|>");
      assertThat(prompt.get("documents").size()).isEqualTo(outcome.at("/search/ranking/documents").asInt());
      assertThat(prompt.get("documents").valueStream().mapToDouble(d -> d.get("attention").asDouble()).sum())
          .isBetween(0.999, 1.001);
      assertThat(prompt.get("documents")).anySatisfy(document -> {
        assertThat(document.get("text").asString()).startsWith("Document\nTitle: The Last Comet\n A murgwell baker");
        assertThat(document.get("attention").asDouble())
            .isEqualTo(hit(outcome, "simulation-3").at("/scores/blockrank").asDouble());
      });
    }
    assertThat(mine.at("/rankingPrompt/last/text").asString()).contains("About the user:\n - " + DIRECTOR);
    assertThat(others.at("/rankingPrompt/last/text").asString()).doesNotContain("About the user", DIRECTOR);
    assertThat(mine.at("/suggestionPrompt/shared").asString())
        .startsWith("<|im_start|>system").contains("Memory: quenby ostrava (4 times)").endsWith("Searched: " + QUERY);
    assertThat(others.at("/suggestionPrompt/shared").asString()).doesNotContain("Memory: quenby");
    assertThat(mine.at("/suggestionPrompt/continuations")).anySatisfy(continuation -> {
      assertThat(continuation.at("/entity/label").asString()).isEqualTo(DIRECTOR);
      assertThat(continuation.get("text").asString())
          .contains("Topic: quenby ostrava (person)<|im_end|>\n<|im_start|>assistant");
    });
  }

  @Test
  void theUserReallyGetsWhatWasShown() {
    JsonNode simulation = simulate(QUERY);
    JsonNode suggested = suggestions();
    JsonNode real = search();
    assertThat(suggested.get("suggestions").findValuesAsString("text")).isNotEmpty()
        .isEqualTo(simulation.at("/asUser/suggestions/suggestions").findValuesAsString("text"));
    JsonNode shown = simulation.at("/asUser/search");
    assertThat(real.get("hits").findValuesAsString("id")).isEqualTo(shown.get("hits").findValuesAsString("id"));
    for (JsonNode hit : real.get("hits")) {
      JsonNode other = shown.get("hits").get(hit.get("rank").asInt() - 1);
      assertThat(hit.at("/scores/blockrank")).isEqualTo(other.at("/scores/blockrank"));
      // Interests fade from one second to the next.
      assertThat(hit.get("score").asDouble()).isCloseTo(other.get("score").asDouble(), within(1e-4));
    }
  }

  @Test
  void everythingStaysAsItWas() {
    simulate(QUERY);
    int unread = suggestions().at("/prompt/cachedTokens").asInt();
    int kept = suggestions().at("/prompt/cachedTokens").asInt();
    assertThat(kept).as("the user's own request has the prompt ready, the simulation had not").isGreaterThan(unread);
    JsonNode completions = get("/api/v1/complete?q=murgwell&userId=" + user);
    DocumentWarming.Progress read = warming.progress();
    Map<String, Double> counted = counted();
    Map<String, String> rows = settledRows();

    JsonNode simulation =
        json.readTree(post("murgwell baker", user, "somebody asked why").expectStatus().isOk().expectBody()
            .returnResult().getResponseBody());

    assertThat(simulation.at("/asUser/search/ranking/warmDocuments").asInt()).isZero();
    assertThat(simulation.at("/asUser/search/ranking/documents").asInt()).isPositive();
    Map<String, String> after = rows();
    List<String> changed = after.keySet().stream().filter(table -> !after.get(table).equals(rows.get(table))).toList();
    assertThat(changed).containsExactly("sequence audit_entry_id_seq", "table audit_entry");
    JsonNode audited = get("/api/v1/admin/audit?size=1").at("/items/0");
    assertThat(audited.get("action").asString()).isEqualTo("POST /api/v1/admin/simulate");
    assertThat(audited.get("subject").asString()).isEqualTo(user);
    assertThat(audited.get("reason").asString()).isEqualTo("somebody asked why");
    assertThat(audited.get("status").asInt()).isEqualTo(200);
    assertThat(counted()).isEqualTo(counted);
    assertThat(get("/api/v1/complete?q=murgwell&userId=" + user)).isEqualTo(completions);
    assertThat(warming.progress().residentDocuments()).isEqualTo(read.residentDocuments());
    assertThat(warming.progress().storedDocuments()).isEqualTo(read.storedDocuments());
    assertThat(suggestions().at("/prompt/cachedTokens").asInt()).as("the user's prompt is still ready").isEqualTo(kept);
    assertThat(search().at("/ranking/warmDocuments").asInt()).as("nobody has read them").isZero();
  }

  @Test
  void whoSwitchedPersonalizationOffGetsWhatEverybodyGets() {
    rest.put().uri("/api/v1/users/" + user + "/settings").contentType(MediaType.APPLICATION_JSON)
        .body("{\"personalization\":\"off\",\"learning\":\"on\",\"sensitive\":[]}").exchange()
        .expectStatus().isOk();
    JsonNode simulation = simulate(QUERY);
    assertThat(simulation.at("/asUser/rankingPrompt")).isEqualTo(simulation.at("/withoutUser/rankingPrompt"));
    assertThat(simulation.at("/asUser/suggestionPrompt")).isEqualTo(simulation.at("/withoutUser/suggestionPrompt"));
    assertThat(simulation.at("/asUser/search/hits")).isEqualTo(simulation.at("/withoutUser/search/hits"));
  }

  @ParameterizedTest
  @CsvSource(
      quoteCharacter = '`',
      value = {
        "`{\"query\":\"comet\"}`, 400, userId",
        "`{\"query\":\"comet\",\"userId\":\" \"}`, 400, userId",
        "`{\"userId\":\"u\"}`, 400, query",
        "`{\"query\":\"comet\",\"userId\":\"u\",\"size\":1000}`, 400, size",
        "`{\"query\":\"comet\",\"userId\":\"u\",\"ranking\":\"best\"}`, 400, ranking",
        "`{\"query\":`, 400,",
        "`{\"query\":\"comet\",\"userId\":\"simulated-nobody\"}`, 404,"
      })
  void badRequestsAreProblems(String body, int status, String field) {
    byte[] answer =
        rest.post().uri("/api/v1/admin/simulate").contentType(MediaType.APPLICATION_JSON).body(body).exchange()
            .expectStatus().isEqualTo(status)
            .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON)
            .expectBody().returnResult().getResponseBody();
    if (field != null) {
      assertThat(json.readTree(answer).at("/errors/0/field").asString()).isEqualTo(field);
    }
    assertThat(get("/api/v1/admin/audit?size=1").at("/items/0/subject").isNull())
        .as("who is not known is not written down").isTrue();
  }

  @Test
  void aBodyOfMoreThanAMegabyteIsRefused() {
    rest.post().uri("/api/v1/admin/simulate").contentType(MediaType.APPLICATION_JSON)
        .body("{\"query\":\"" + "x".repeat(1 << 20) + "\",\"userId\":\"" + user + "\"}")
        .exchange().expectStatus().isEqualTo(413);
  }

  private JsonNode simulate(String query) {
    return json.readTree(
        post(query, user, null).expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }

  private RestTestClient.ResponseSpec post(String query, String userId, String reason) {
    return rest.post().uri("/api/v1/admin/simulate").contentType(MediaType.APPLICATION_JSON)
        .headers(headers -> {
          if (reason != null) {
            headers.set("X-Audit-Reason", reason);
          }
        })
        .body(
            json.writeValueAsString(
                Map.of("query", query, "userId", userId, "retrieval", "lexical", "budgetMs", 60_000)))
        .exchange();
  }

  private JsonNode search() {
    return send("/api/v1/search", Map.of("query", QUERY, "userId", user, "retrieval", "lexical", "budgetMs", 60_000));
  }

  private JsonNode suggestions() {
    return send("/api/v1/suggestions", Map.of("query", QUERY, "userId", user, "budgetMs", 60_000));
  }

  private JsonNode send(String uri, Object body) {
    return json.readTree(
        rest.post().uri(uri).contentType(MediaType.APPLICATION_JSON).body(json.writeValueAsString(body)).exchange()
            .expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }

  private JsonNode get(String uri) {
    return json.readTree(
        rest.get().uri(uri).exchange().expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }

  private static JsonNode hit(JsonNode outcome, String id) {
    return outcome.at("/search/hits").valueStream().filter(hit -> hit.get("id").asString().equals(id)).findFirst()
        .orElseThrow();
  }

  /** What the service counts of searches and suggestions. */
  private Map<String, Double> counted() {
    Map<String, Double> counted = new HashMap<>();
    metrics.getMeters().stream()
        .filter(meter -> meter.getId().getName().startsWith("attune.search")
            || meter.getId().getName().startsWith("attune.suggestion"))
        .forEach(meter -> meter.measure().forEach(
            measurement -> {
              if (!measurement.getStatistic().name().equals("MAX")) {
                counted.put(meter.getId() + " " + measurement.getStatistic(), measurement.getValue());
              }
            }));
    return counted;
  }

  /** Once nothing of what came before is written any more. */
  private Map<String, String> settledRows() {
    AtomicReference<Map<String, String>> last = new AtomicReference<>(rows());
    await().pollInterval(Duration.ofMillis(500)).atMost(Duration.ofSeconds(30)).until(() -> {
      Map<String, String> now = rows();
      return now.equals(last.getAndSet(now));
    });
    return last.get();
  }

  /** A digest of the rows of every table, and where every sequence stands. */
  private Map<String, String> rows() {
    Map<String, String> rows = new TreeMap<>();
    List<String> tables =
        jdbc.sql("select table_name from information_schema.tables where table_schema = 'public' "
                + "and table_type = 'BASE TABLE'").query(String.class).list();
    assertThat(tables).contains("logged_query", "logged_event", "user_entity", "user_evidence", "user_store");
    for (String table : tables) {
      rows.put("table " + table,
          jdbc.sql("select count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '') "
              + "from \"" + table + "\" t").query(String.class).single());
    }
    jdbc.sql("select sequencename, last_value from pg_sequences where schemaname = 'public'")
        .query((row, number) -> rows.put("sequence " + row.getString(1), String.valueOf(row.getString(2))))
        .list();
    return rows;
  }
}
