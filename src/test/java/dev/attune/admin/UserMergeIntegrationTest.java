package dev.attune.admin;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.knowledge.KnowledgeStores;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.HttpMethod;
import org.springframework.http.MediaType;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Two ids become one user over HTTP: log, store, what was forgotten, erasure and audit. */
@AttuneIntegrationTest
class UserMergeIntegrationTest {

  private static final String FIRST_FILM = "work:um0";
  private static final String SECOND_FILM = "work:um1";
  private static final String DIRECTOR = "person:umdirector";

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @Autowired JdbcTemplate jdbc;
  @Autowired KnowledgeStores stores;

  private final String first = "um-first-" + UUID.randomUUID();
  private final String second = "um-second-" + UUID.randomUUID();

  @BeforeEach
  void twoUsersWithAFilmEach() {
    send("/api/v1/documents",
        """
        {"id":"um0","title":"Umfilmzero","text":"A text.","fields":{"director":"Umdirector"}}
        {"id":"um1","title":"Umfilmone","text":"A text.","fields":{"director":"Umdirector"}}
        {"id":"um2","title":"Umfilmtwo","text":"A text."}
        """);
    log(first, "umfilmzero", "um0", "2026-06-01T10:00:00Z");
    log(second, "umfilmone", "um1", "2026-06-02T10:00:00Z");
  }

  /** A query and a click on what it was for. */
  private void log(String user, String query, String document, String time) {
    send("/api/v1/events",
        """
        {"query_id":"%1$s-%3$s","user_id":"%1$s","user_query":"%2$s","timestamp":"%4$s"}
        {"event_id":"%1$s-%3$s-click","action_name":"click","query_id":"%1$s-%3$s","timestamp":"%4$s",\
        "event_attributes":{"object":{"object_id":"%3$s"}}}
        """.formatted(user, query, document, time));
  }

  @Test
  void itemsAndEntitiesOfTheFirstAreTheSecondsFromThenOn() {
    assertThat(entities(first)).containsExactlyInAnyOrder(FIRST_FILM + " 2", DIRECTOR + " 1");
    assertThat(entities(second)).containsExactlyInAnyOrder(SECOND_FILM + " 2", DIRECTOR + " 1");

    JsonNode answer = merge(first, second, 200);

    assertThat(answer.get("userId").asString()).isEqualTo(second);
    assertThat(answer.get("movedItems").asInt()).isEqualTo(2);
    List<String> together = entities(second);
    assertThat(together).containsExactlyInAnyOrder(FIRST_FILM + " 2", SECOND_FILM + " 2", DIRECTOR + " 2");
    assertThat(get("/api/v1/users/" + second + "/entities/" + FIRST_FILM + "/events").get("items")
        .findValuesAsString("id")).containsExactlyInAnyOrder(first + "-um0", first + "-um0-click");
    JsonNode user = get("/api/v1/admin/users/" + second);
    assertThat(user.get("queries").asInt()).isEqualTo(2);
    assertThat(user.get("events").asInt()).isEqualTo(2);
    assertThat(entities(first)).isEmpty();
    call(HttpMethod.GET, "/api/v1/admin/users/" + first, 404);
    stores.rebuild(second);
    assertThat(entities(second)).containsExactlyInAnyOrderElementsOf(together);

    log(first, "umfilmtwo", "um2", "2026-06-03T10:00:00Z");
    assertThat(entities(second)).contains("work:um2 2");
    assertThat(entities(first)).isEmpty();
  }

  @Test
  void whatTheFirstForgotOrPausedForStaysOut() {
    String user = "/api/v1/users/" + first;
    call(HttpMethod.DELETE, user + "/entities/" + FIRST_FILM, 204);
    learning(user, "paused");
    log(first, "umfilmtwo", "um2", Instant.now().toString());
    assertThat(entities(first)).containsExactly(DIRECTOR + " 1");

    merge(first, second, 200);

    assertThat(entities(second)).containsExactlyInAnyOrder(SECOND_FILM + " 2", DIRECTOR + " 2");
    assertThat(get("/api/v1/users/" + second + "/entities").get("forgotten").findValuesAsString("entityId"))
        .containsExactly(FIRST_FILM);
    log(second, "umfilmtwo", "um2", Instant.now().toString());
    assertThat(entities(second)).as("the second user never paused").contains("work:um2 2");
  }

  private void learning(String user, String learning) {
    rest.put().uri(user + "/settings").contentType(MediaType.APPLICATION_JSON)
        .body("{\"personalization\":\"on\",\"learning\":\"" + learning + "\"}").exchange().expectStatus().isOk();
  }

  @Test
  void whatCannotBeMergedIsAProblem() {
    String nobody = "um-nobody-" + UUID.randomUUID();
    assertThat(merge(nobody, second, 404).get("detail").asString()).contains(nobody);
    assertThat(merge(first, nobody, 404).get("detail").asString()).contains(nobody);
    assertThat(merge(first, first, 400).at("/errors/0/field").asString()).isEqualTo("intoUserId");
    assertThat(entities(first)).as("nothing happened").hasSize(2);

    merge(first, second, 200);
    assertThat(merge(first, second, 200).get("movedItems").asInt()).as("again").isZero();
    merge(second, first, 409);
    String third = "um-third-" + UUID.randomUUID();
    log(third, "umfilmtwo", "um2", "2026-06-03T10:00:00Z");
    merge(first, third, 409);
    assertThat(merge(third, first, 200).get("userId").asString()).as("where the first is now").isEqualTo(second);
    assertThat(entities(second)).contains("work:um2 2");
  }

  @Test
  void aMergeIsAuditedAndErasingTheUserErasesBothIds() {
    call(HttpMethod.DELETE, "/api/v1/users/" + first + "/entities/" + FIRST_FILM, 204);
    merge(first, second, 200);
    assertThat(get("/api/v1/admin/audit?size=20").get("items")).anySatisfy(entry -> {
      assertThat(entry.get("action").asString())
          .isEqualTo("POST /api/v1/admin/users/{fromUserId}/merge/{intoUserId}");
      assertThat(entry.get("subject").asString()).isEqualTo(first + " " + second);
      assertThat(entry.get("reason").asString()).isEqualTo("one person");
      assertThat(entry.get("status").asInt()).isEqualTo(200);
    });
    assertThat(tablesNaming(first)).contains("audit_entry", "merged_user", "logged_query");

    JsonNode receipt = call(HttpMethod.DELETE, "/api/v1/users/" + second, 200);

    assertThat(receipt.get("remaining").asInt()).isZero();
    assertThat(receipt.at("/counts/queries").asInt()).isEqualTo(2);
    assertThat(tablesNaming(first)).isEmpty();
    assertThat(tablesNaming(second)).isEmpty();
  }

  /** Every table that holds the id in any column. */
  private List<String> tablesNaming(String id) {
    List<String> found = new ArrayList<>();
    for (String table : jdbc.queryForList("select table_name from information_schema.tables "
        + "where table_schema = 'public' and table_type = 'BASE TABLE'", String.class)) {
      Boolean named = jdbc.queryForObject(
          "select exists (select 1 from \"" + table + "\" t where t::text like ?)", Boolean.class, "%" + id + "%");
      if (Boolean.TRUE.equals(named)) {
        found.add(table);
      }
    }
    return found;
  }

  /** Entities of a store with their counts. */
  private List<String> entities(String user) {
    return get("/api/v1/users/" + user + "/entities").get("items").valueStream()
        .map(entity -> entity.get("entityId").asString() + " " + entity.get("count").asInt())
        .toList();
  }

  private JsonNode merge(String from, String into, int status) {
    return call(HttpMethod.POST, "/api/v1/admin/users/" + from + "/merge/" + into, status);
  }

  private JsonNode get(String path) {
    return call(HttpMethod.GET, path, 200);
  }

  private JsonNode call(HttpMethod method, String path, int status) {
    byte[] body = rest.method(method).uri(path).header("X-Audit-Reason", "one person").exchange()
        .expectStatus().isEqualTo(status).expectBody().returnResult().getResponseBodyContent();
    return body == null || body.length == 0 ? json.createObjectNode() : json.readTree(body);
  }

  private void send(String path, String lines) {
    rest.post().uri(path).contentType(MediaType.APPLICATION_NDJSON).body(lines).exchange().expectStatus().isOk();
  }
}
