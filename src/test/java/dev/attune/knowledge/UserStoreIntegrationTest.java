package dev.attune.knowledge;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.retrieval.DocumentsChanged;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.http.HttpMethod;
import org.springframework.http.MediaType;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The resources of a user's own store, over HTTP, on a log that came in over HTTP. */
@AttuneIntegrationTest
class UserStoreIntegrationTest {

  @Autowired private RestTestClient rest;
  @Autowired private ApplicationEventPublisher events;
  @Autowired private JdbcTemplate jdbc;
  @Autowired private KnowledgeStores stores;
  @Autowired private JsonMapper json;

  @BeforeEach
  void films() {
    events.publishEvent(new DocumentsChanged(KnowledgeFixture.films(), List.of()));
  }

  private String newUser() {
    String user = "ku@" + UUID.randomUUID();
    log("""
        {"query_id":"%1$s-q","user_query":"kffilma kfdirector a","timestamp":"2026-06-01T10:00:00Z",\
        "query_attributes":{"user_id":"%1$s"}}
        {"event_id":"%1$s-e","action_name":"click","query_id":"%1$s-q","timestamp":"2026-06-01T10:01:00Z",\
        "event_attributes":{"object":{"object_id":"kf0"}}}
        {"event_id":"%1$s-i","action_name":"impression","query_id":"%1$s-q","timestamp":"2026-06-01T10:01:00Z",\
        "event_attributes":{"object":{"object_id":"kf5"}}}
        """.formatted(user));
    return user;
  }

  private void log(String lines) {
    JsonNode answer = call(HttpMethod.POST, "/api/v1/events", "application/x-ndjson", lines, 200);
    assertThat(answer.path("rejected").asInt()).as(answer.toString()).isZero();
  }

  private JsonNode get(String path) {
    return call(HttpMethod.GET, path, null, null, 200);
  }

  private JsonNode call(HttpMethod method, String path, String type, String body, int status) {
    RestTestClient.RequestBodySpec request = rest.method(method).uri(URI.create(path));
    if (body != null) {
      request.contentType(MediaType.parseMediaType(type)).body(body);
    }
    byte[] answer = request.exchange().expectStatus().isEqualTo(status).expectBody().returnResult()
        .getResponseBodyContent();
    return answer == null || answer.length == 0 ? json.createObjectNode() : json.readTree(answer);
  }

  private JsonNode put(String path, String body, int status) {
    return call(HttpMethod.PUT, path, "application/json", body, status);
  }

  private static List<String> ids(JsonNode answer) {
    List<String> ids = new ArrayList<>();
    answer.path("items").forEach(entity -> ids.add(entity.path("entityId").asString()));
    return ids;
  }

  @Test
  void showsWhatWasLearnedAndWhy() {
    String user = "/api/v1/users/" + newUser();
    JsonNode answer = get(user + "/entities");
    assertThat(ids(answer)).containsExactlyInAnyOrder("work:kf0", "person:kfdirector-a", "person:kfactor-a",
        "person:kfactor-b", "genre:kfgenreone");
    JsonNode film = get(user + "/entities?q=KFFILM").path("items").path(0);
    assertThat(film.path("label").asString()).isEqualTo("Kffilma");
    assertThat(film.path("type").asString()).isEqualTo("work");
    assertThat(film.path("count").asInt()).isEqualTo(2);
    assertThat(film.path("firstSeen").asString()).isEqualTo("2026-06-01T10:00:00Z");
    assertThat(film.path("lastSeen").asString()).isEqualTo("2026-06-01T10:01:00Z");
    assertThat(film.path("mode").asString()).isEqualTo("lapsed");
    assertThat(get(user + "/entities?mode=familiar").path("total").asInt()).isZero();
    assertThat(get(user + "/entities?page=1&size=3").path("items").size()).isEqualTo(2);

    JsonNode trace = get(user + "/entities/work%3Akf0/events");
    assertThat(trace.path("total").asInt()).isEqualTo(2);
    assertThat(trace.path("items").path(0).path("objectId").asString()).isEqualTo("kf0");
    assertThat(trace.path("items").path(0).path("source").asString()).isEqualTo("click");
    assertThat(trace.path("items").path(0).path("text").asString()).isEqualTo("Kffilma");
    assertThat(trace.path("items").path(1).path("text").asString()).isEqualTo("kffilma kfdirector a");
    assertThat(get(user + "/entities/work:kf0/events")).isEqualTo(trace);
  }

  @Test
  void anUnknownUserHasAnEmptyStoreAndDefaults() {
    String user = "/api/v1/users/ku-nobody-" + UUID.randomUUID();
    assertThat(get(user + "/entities").path("total").asInt()).isZero();
    assertThat(get(user + "/entities/work:kf0/events").path("total").asInt()).isZero();
    JsonNode settings = get(user + "/settings");
    assertThat(settings.path("personalization").asString()).isEqualTo("on");
    assertThat(settings.path("learning").asString()).isEqualTo("on");
    assertThat(get(user + "/export").path("searchLog").size()).isZero();
  }

  @Test
  void forgetsAndLearnsAgain() {
    String id = newUser();
    String user = "/api/v1/users/" + id;
    call(HttpMethod.DELETE, user + "/entities/work:kf0", null, null, 204);
    JsonNode answer = get(user + "/entities");
    assertThat(ids(answer)).doesNotContain("work:kf0").hasSize(4);
    assertThat(answer.path("forgotten").path(0).path("label").asString()).isEqualTo("Kffilma");
    stores.rebuild(id);
    assertThat(ids(get(user + "/entities"))).doesNotContain("work:kf0").hasSize(4);
    put(user + "/entities/work:kf0", "", 204);
    assertThat(get(user + "/entities").path("forgotten").size()).isZero();
    call(HttpMethod.DELETE, user + "/entities/no:such-entity", null, null, 404);
  }

  @Test
  void settingsAreCheckedAndKept() {
    String user = "/api/v1/users/" + newUser();
    JsonNode answer = put(user + "/settings",
        "{\"personalization\":\"off\",\"learning\":\"paused\",\"retentionDays\":900,\"sensitive\":[\"health\"]}", 200);
    assertThat(get(user + "/settings")).isEqualTo(answer);
    assertThat(answer.path("retentionDays").asInt()).isEqualTo(900);
    assertThat(answer.path("sensitive").path(0).asString()).isEqualTo("health");
    put(user + "/settings", answer.toString(), 200);
    for (Map.Entry<String, String> bad : Map.of(
        "personalization", "{\"learning\":\"on\"}",
        "learning", "{\"personalization\":\"on\",\"learning\":\"maybe\"}",
        "retentionDays", "{\"personalization\":\"on\",\"learning\":\"on\",\"retentionDays\":0}",
        "sensitive", "{\"personalization\":\"on\",\"learning\":\"on\",\"sensitive\":[\"shoes\"]}").entrySet()) {
      JsonNode problem = put(user + "/settings", bad.getValue(), 400);
      assertThat(problem.path("errors").path(0).path("field").asString()).isEqualTo(bad.getKey());
    }
    put(user + "/settings", "nonsense", 400);
    call(HttpMethod.GET, user + "/entities?mode=best", null, null, 400);
    call(HttpMethod.GET, user + "/entities?page=-1", null, null, 400);
    call(HttpMethod.GET, user + "/entities?size=x", null, null, 400);
    assertThat(call(HttpMethod.GET, "/api/v1/erasures/nonsense", null, null, 400).path("detail").asString())
        .isEqualTo("receiptId must be a UUID");
    call(HttpMethod.GET, "/api/v1/erasures/" + UUID.randomUUID(), null, null, 404);
  }

  @Test
  void exportsAllThatIsHeld() {
    String id = newUser();
    JsonNode export = get("/api/v1/users/" + id + "/export");
    assertThat(export.path("userId").asString()).isEqualTo(id);
    assertThat(export.path("entities").size()).isEqualTo(5);
    assertThat(export.path("searchLog").size()).isEqualTo(3);
    assertThat(export.path("searchLog").path(0).path("user_query").asString()).isEqualTo("kffilma kfdirector a");
  }

  @Test
  void erasesEverywhereWithAReceipt() {
    String id = newUser();
    String other = newUser();
    String user = "/api/v1/users/" + id;
    call(HttpMethod.DELETE, user + "/entities/person:kfactor-a", null, null, 204);
    JsonNode receipt = call(HttpMethod.DELETE, user, null, null, 200);
    assertThat(receipt.path("remaining").asInt()).isZero();
    assertThat(receipt.path("counts").path("queries").asInt()).isEqualTo(1);
    assertThat(receipt.path("counts").path("events").asInt()).isEqualTo(2);
    assertThat(receipt.path("counts").path("entities").asInt()).isEqualTo(4);
    assertThat(receipt.toString()).doesNotContain(id);
    assertThat(get("/api/v1/erasures/" + receipt.path("receiptId").asString())).isEqualTo(receipt);
    assertThat(ids(get(user + "/entities"))).isEmpty();
    assertThat(get(user + "/export").path("searchLog").size()).isZero();
    assertThat(rowsNaming(id)).isEmpty();
    assertThat(rowsNaming(other)).isNotEmpty();
    assertThat(ids(get("/api/v1/users/" + other + "/entities"))).hasSize(5);
  }

  /** Every table that holds the id in any text column. */
  private List<String> rowsNaming(String id) {
    List<String> found = new ArrayList<>();
    jdbc.query("select table_name from information_schema.tables where table_schema = 'public' "
        + "and table_type = 'BASE TABLE'", row -> {
          String table = row.getString(1);
          Long rows = jdbc.queryForObject(
              "select count(*) from \"" + table + "\" t where t::text like ?", Long.class, "%" + id + "%");
          if (rows != null && rows > 0) {
            found.add(table);
          }
        });
    return found;
  }

  @Test
  void listsStoresAndTotals() {
    String id = newUser();
    KnowledgeStores.StorePage page = stores.stores(id.substring(3), KnowledgeStores.StoreSort.ENTITIES, 0, 10);
    assertThat(page.total()).isEqualTo(1);
    assertThat(page.stores().getFirst().entities()).isEqualTo(5);
    assertThat(page.stores().getFirst().evidence()).isEqualTo(7);
    assertThat(stores.stores("100%_", KnowledgeStores.StoreSort.USER_ID, 0, 10).total()).isZero();
    assertThat(stores.totals().users()).isPositive();
  }

  /** A canary in one user's log never shows in what another is answered. */
  @Test
  void oneUsersEntitiesNeverReachAnother() {
    String canary = "ku@canary-" + UUID.randomUUID();
    log("""
        {"query_id":"%1$s-q","user_query":"kffilmj","timestamp":"2026-06-01T10:00:00Z",\
        "query_attributes":{"user_id":"%1$s"}}
        """.formatted(canary));
    String user = "/api/v1/users/" + newUser();
    for (String path : List.of("/entities", "/entities?q=kffilmj", "/export", "/entities/work:kf9/events")) {
      assertThat(get(user + path).toString()).doesNotContain(canary)
          .doesNotContain("work:kf9\",\"label\":\"Kffilmj\",\"type\"");
    }
  }
}
