package dev.attune.searchlog;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.tuple;

import dev.attune.AttuneIntegrationTest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.MethodOrderer.MethodName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.MediaType;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The contract of {@code POST /api/v1/events}, told in order; each step stands alone. */
@AttuneIntegrationTest
@TestMethodOrder(MethodName.class)
class EventsStoryTest {

  private static final MediaType NDJSON = MediaType.parseMediaType("application/x-ndjson");

  @Autowired RestTestClient client;
  @Autowired SearchLog log;
  @Autowired UserLogs users;
  @Autowired IngestionStatistics statistics;
  @Autowired JdbcClient jdbc;

  private final String ns = UUID.randomUUID().toString();
  private final String user = "user-" + ns;

  @Test
  void t10_aQueryAndTheClickOnItsResultAreStored() {
    JsonNode report =
        post(
            """
            {"query_id":"q-NS","user_id":"user-NS","user_query":"Space Opera","timestamp":"2025-05-01T10:00:00Z",\
            "query_response_hit_ids":["11","1891"]}
            {"event_id":"e-NS","action_name":"click","query_id":"q-NS","timestamp":"2025-05-01T10:00:09Z",\
            "event_attributes":{"object":{"object_id":"11","title":"Star Wars"},"position":{"ordinal":1}}}
            """);

    assertReport(report, 2, 2, 0, 0);
    assertThat(log.recentQueries(user, 5))
        .singleElement()
        .satisfies(
            q -> {
              assertThat(q.text()).isEqualTo("Space Opera");
              assertThat(q.resultIds()).containsExactly("11", "1891");
            });
    String session = String.valueOf(log.recentQueries(user, 1).getFirst().sessionId());
    assertThat(log.session(user, session, 10))
        .hasSize(2)
        .last()
        .satisfies(
            step ->
                assertThat(step.event().orElseThrow().object())
                    .isEqualTo(new LoggedEvent.PageObject("11", "Star Wars", null, null)));
  }

  @Test
  void t11_sentAgainNothingChanges() {
    String body =
        """
        {"query_id":"q-NS","user_id":"user-NS","user_query":"again","timestamp":"2025-05-01T10:00:00Z"}
        {"action_name":"click","user_id":"user-NS","timestamp":"2025-05-01T10:00:09Z"}
        {"timestamp":"2025-05-01T10:00:09Z","user_id":"user-NS","action_name":"click"}
        """;

    assertReport(post(body), 3, 2, 1, 0);
    assertReport(post(body), 3, 0, 3, 0);
  }

  @Test
  void t12_aJsonArrayIsTakenAsWell() {
    JsonNode report =
        post(
            MediaType.APPLICATION_JSON,
            """
            [{"query_id":"q1-NS","user_id":"user-NS","user_query":"one"},
             {"query_id":"q2-NS","user_id":"user-NS","user_query":"two"}]""");

    assertReport(report, 2, 2, 0, 0);
  }

  @Test
  void t13_bulkActionLinesAreSkippedButKeepTheirIndex() {
    JsonNode report =
        post(
            """
            {"index":{"_index":"ubi_queries","_id":"1"}}
            {"query_id":"q-NS","user_id":"user-NS","user_query":"one"}
            {"index":{"_index":"ubi_events"}}
            {"action_name":"click","timestamp":true}
            """);

    assertReport(report, 2, 1, 0, 1);
    assertThat(report.at("/errors/0/index").intValue()).isEqualTo(3);
  }

  @Test
  void t14_anEmptyBodyIsNoItems() {
    assertReport(post(""), 0, 0, 0, 0);
    assertReport(post(MediaType.APPLICATION_JSON, "[]"), 0, 0, 0, 0);
  }

  @Test
  void t20_aMalformedLineIsRejectedAlone() {
    JsonNode report =
        post(
            """
            {"query_id":"q1-NS","user_id":"user-NS","user_query":"before"}
            {"query_id":"q2-NS","user_query":
            {"query_id":"q3-NS","user_id":"user-NS","user_query":"after"}
            """);

    assertReport(report, 3, 2, 0, 1);
    assertThat(report.at("/errors/0/index").intValue()).isEqualTo(1);
    assertThat(report.at("/errors/0/reason").stringValue()).contains("not valid JSON");
  }

  @Test
  void t21_wrongTypesAreRejectedOneByOneWithTheField() {
    JsonNode report =
        post(
            """
            {"query_id":"q-NS","user_id":"user-NS","user_query":"right"}
            {"user_query":["wrong"]}
            {"user_query":"x","user_id":17}
            {"action_name":"click","event_attributes":"none"}
            {"action_name":"click","event_attributes":{"position":{"ordinal":"first"}}}
            {"user_query":"x","timestamp":"soon"}
            {"message":"neither"}
            "text"
            """);

    assertReport(report, 8, 1, 0, 7);
    assertThat(report.get("errors").valueStream().map(e -> e.get("reason").stringValue().replaceAll(":.*", "")))
        .containsExactly(
            "user_query", "user_id", "event_attributes", "event_attributes.position.ordinal", "timestamp",
            "user_query or action_name", "not a JSON object");
    assertThat(statistics.lastFailures(7)).extracting(IngestionStatistics.Failure::reason)
        .anyMatch(r -> r.startsWith("user_id"));
  }

  @Test
  void t22_nulCharactersDoNotReachTheDatabase() {
    JsonNode report =
        post("{\"query_id\":\"q-NS\",\"user_id\":\"user-NS\",\"user_query\":\"a\\u0000b \\ud83d\"}\n");

    assertReport(report, 1, 1, 0, 0);
    assertThat(log.findQuery("q-" + ns).orElseThrow().text()).isEqualTo("a b");
  }

  @Test
  void t30_theUserOfAnEventIsFoundInOrder() {
    post(
        """
        {"query_id":"q-NS","client_id":"browser-NS","query_attributes":{"user_id":"user-NS"},"user_query":"who"}
        {"event_id":"e1-NS","action_name":"click","user_id":"first-NS",\
        "event_attributes":{"user_id":"second-NS"},"query_id":"q-NS","client_id":"browser-NS"}
        {"event_id":"e2-NS","action_name":"click","event_attributes":{"user_id":"second-NS"},\
        "query_id":"q-NS","client_id":"browser-NS"}
        {"event_id":"e3-NS","action_name":"click","query_id":"q-NS","client_id":"browser-NS"}
        {"event_id":"e4-NS","action_name":"click","query_id":"unknown-NS","client_id":"browser-NS"}
        {"event_id":"e5-NS","action_name":"click","user_id":""}
        """);

    assertThat(IntStream.rangeClosed(1, 5).mapToObj(i -> log.events(List.of("e" + i + "-" + ns)).getFirst().userId()))
        .containsExactly("first-" + ns, "second-" + ns, user, "browser-" + ns, null);
  }

  @Test
  void t31_withoutAUserItemsAreStoredForNobody() {
    JsonNode report = post("{\"query_id\":\"q-NS\",\"user_query\":\"nobody\"}\n");

    assertReport(report, 1, 1, 0, 0);
    LoggedQuery query = log.findQuery("q-" + ns).orElseThrow();
    assertThat(query.userId()).isNull();
    assertThat(query.sessionId()).isNull();
  }

  @Test
  void t32_anUnknownUserHasNothing() {
    assertThat(log.recentQueries(user, 5)).isEmpty();
    assertThat(log.session(user, "none", 5)).isEmpty();
    assertThat(log.own(user, "", 5)).isEmpty();
    assertThat(users.user(user)).isEmpty();
    assertThat(users.erase(user)).isEqualTo(new UserLogs.Erased(0, 0, List.of()));
  }

  @Test
  void t33_withoutATimestampTheTimeOfReceiptCounts() {
    post("{\"query_id\":\"q-NS\",\"user_id\":\"user-NS\",\"user_query\":\"now\"}\n");

    assertThat(log.findQuery("q-" + ns).orElseThrow().timestamp())
        .isBetween(Instant.now().minusSeconds(60), Instant.now());
  }

  @Test
  void t40_completionsAreTheUsersOwnOrThoseOfManyUsers() {
    String word = "zebra" + ns.substring(0, 8);
    StringBuilder body = new StringBuilder();
    for (int u = 0; u < 3; u++) {
      body.append("{\"user_id\":\"u%d-NS\",\"user_query\":\"%s 100%%_\\\\ Crossing\"}\n".formatted(u, word));
    }
    body.append("{\"user_id\":\"u1-NS\",\"user_query\":\"%s  Secret\"}\n".formatted(word.toUpperCase(Locale.ROOT)));
    post(body.toString());

    assertThat(log.popular(word, 3, 10))
        .containsExactly(new SearchLog.PopularQuery(word + " 100%_\\ crossing", 3, 3));
    assertThat(log.popular(word, 4, 10)).isEmpty();
    assertThat(log.popular(word + " 100%_\\", 3, 10)).hasSize(1);
    assertThat(log.popular(word + " 1%", 3, 10)).isEmpty();
    assertThat(log.own("u1-" + ns, word + " s", 10))
        .extracting(SearchLog.PopularQuery::text)
        .containsExactly(word.toUpperCase(Locale.ROOT) + "  Secret");
    assertThat(log.own("u0-" + ns, word, 10)).hasSize(1);
  }

  @Test
  void t50_tenThousandItemsInOneRequest() {
    String body =
        IntStream.range(0, 10_000)
            .mapToObj(
                ("{\"query_id\":\"q%d-NS\",\"user_id\":\"user-NS\",\"user_query\":\"many\","
                    + "\"timestamp\":1746093600}")::formatted)
            .collect(Collectors.joining("\n"));

    assertReport(post(body), 10_000, 10_000, 0, 0);
    assertThat(users.user(user).orElseThrow().queries()).isEqualTo(10_000);
  }

  @Test
  void t51_thousandBadItemsAreCountedButNotAllExplained() {
    JsonNode report = post("{}\n".repeat(1_000));

    assertReport(report, 1_000, 0, 0, 1_000);
    assertThat(report.get("errors").size()).isEqualTo(100);
  }

  @Test
  void t52_theSameItemsFromManyClientsAtOnceAreStoredOnce() throws Exception {
    String body =
        IntStream.range(0, 600)
            .mapToObj(
                ("{\"action_name\":\"click\",\"user_id\":\"user-NS\","
                    + "\"timestamp\":\"2025-05-01T10:00:00.%06dZ\"}")::formatted)
            .collect(Collectors.joining("\n"));
    try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<JsonNode>> answers =
          executor.invokeAll(Collections.nCopies(6, (Callable<JsonNode>) () -> post(body)));
      long accepted = 0;
      for (Future<JsonNode> answer : answers) {
        accepted += answer.get().get("accepted").longValue();
      }
      assertThat(accepted).isEqualTo(600);
    }
    assertThat(users.user(user).orElseThrow().events()).isEqualTo(600);
  }

  @Test
  void t60_anExportTakenInAgainGivesTheSameLog() {
    post(
        """
        {"query_id":"q-NS","user_id":"user-NS","client_id":"b-NS","user_query":"keep",\
        "timestamp":"2025-05-01T10:00:00Z","query_response_hit_ids":["1"],"query_attributes":{"simulated":true}}
        {"event_id":"e-NS","action_name":"click","query_id":"q-NS","session_id":"s","timestamp":"2025-05-01T10:00:09Z",\
        "event_attributes":{"object":{"title":"t","text":"x","url":"/u"},"position":{"ordinal":2}}}
        """);
    List<LoggedQuery> queries = new ArrayList<>();
    List<LoggedEvent> events = new ArrayList<>();
    users.replay(user, queries::add, events::add);
    List<JsonNode> exported = new ArrayList<>();
    users.export(user, exported::add);

    assertThat(users.erase(user)).isEqualTo(new UserLogs.Erased(1, 1, List.of()));
    assertThat(users.remaining(user)).isZero();
    log.ingest(exported.stream());

    List<LoggedQuery> queriesAgain = new ArrayList<>();
    List<LoggedEvent> eventsAgain = new ArrayList<>();
    users.replay(user, queriesAgain::add, eventsAgain::add);
    assertThat(queriesAgain).isEqualTo(queries).hasSize(1);
    assertThat(eventsAgain).isEqualTo(events).hasSize(1);
  }

  @Test
  void t61_erasingAUserLeavesNoRowThatNamesThem() {
    post(
        """
        {"query_id":"q-NS","client_id":"user-NS","user_query":"anonymous"}
        {"event_id":"e1-NS","action_name":"click","query_id":"q-NS"}
        {"event_id":"e2-NS","action_name":"click","user_id":"other-NS","client_id":"user-NS"}
        """);
    assertThat(users.remaining(user)).isEqualTo(3);

    assertThat(users.erase(user)).isEqualTo(new UserLogs.Erased(1, 1, List.of()));

    assertThat(users.remaining(user)).isZero();
    assertThat(users.user("other-" + ns).orElseThrow().events()).isEqualTo(1);
    assertThat(
            jdbc.sql("select count(*) from logged_event e where e::text like ?")
                .param("%" + user + "%")
                .query(Long.class)
                .single())
        .isZero();
  }

  @Test
  void t62_twoIdsOfOnePersonBecomeOneUser() {
    post(
        """
        {"query_id":"q1-NS","user_id":"old-NS","user_query":"one","timestamp":"2025-05-01T10:00:00Z"}
        {"query_id":"q2-NS","user_id":"user-NS","user_query":"two","timestamp":"2025-05-01T10:10:00Z"}
        """);

    assertThat(users.merge("old-" + ns, user)).isEqualTo(1);
    post(
        """
        {"query_id":"q3-NS","user_id":"old-NS","user_query":"three","timestamp":"2025-05-01T10:20:00Z"}
        """);

    assertThat(log.recentQueries(user, 5))
        .extracting(LoggedQuery::text, LoggedQuery::sessionId)
        .containsExactly(
            tuple("three", "~2025-05-01T10:00:00.000000Z"),
            tuple("two", "~2025-05-01T10:00:00.000000Z"),
            tuple("one", "~2025-05-01T10:00:00.000000Z"));
    assertThat(users.user("old-" + ns)).isEmpty();
    assertThat(catchThrowable(() -> users.merge(user, "old-" + ns)))
        .isInstanceOf(AlreadyMergedException.class);
    assertThat(users.merge("old-" + ns, user)).as("done before").isZero();
    assertThat(users.mergedInto("old-" + ns)).contains(user);
    assertThat(users.erase(user)).isEqualTo(new UserLogs.Erased(3, 0, List.of("old-" + ns)));
    assertThat(users.remaining("old-" + ns)).isZero();
  }

  @Test
  void t63_usersAreListedByWhatTheyDid() {
    post(
        """
        {"user_id":"a-NS","user_query":"1"}
        {"user_id":"b-NS","user_query":"1"}
        {"user_id":"b-NS","user_query":"2"}
        {"user_id":"b-NS","action_name":"click"}
        {"user_id":"c-NS","user_query":"1"}
        """);

    var page = users.users(UserLogs.UserSort.QUERIES, new UserLogs.UserFilter(ns, true, 0, 2));
    var next = users.users(UserLogs.UserSort.QUERIES, new UserLogs.UserFilter(ns, true, 1, 2));

    assertThat(page.total()).isEqualTo(3);
    assertThat(page.users())
        .extracting(UserLogs.UserActivity::userId, UserLogs.UserActivity::queries, UserLogs.UserActivity::events)
        .containsExactly(
            tuple("b-" + ns, 2L, 1L), tuple("a-" + ns, 1L, 0L));
    assertThat(next.users()).extracting(UserLogs.UserActivity::userId).containsExactly("c-" + ns);
  }

  @Test
  void t70_anotherContentTypeIsToldWhatToSend() {
    client
        .post().uri("/api/v1/events").contentType(MediaType.TEXT_XML).body("<a/>")
        .exchange()
        .expectStatus().isEqualTo(415)
        .expectHeader().contentTypeCompatibleWith(MediaType.APPLICATION_PROBLEM_JSON);
  }

  private static void assertReport(JsonNode report, long received, long accepted, long duplicates, long rejected) {
    assertThat(List.of("received", "accepted", "duplicates", "rejected"))
        .extracting(name -> report.get(name).longValue())
        .as("received, accepted, duplicates, rejected of %s", report)
        .containsExactly(received, accepted, duplicates, rejected);
  }

  private JsonNode post(String body) {
    return post(NDJSON, body);
  }

  private JsonNode post(MediaType type, String body) {
    byte[] answer =
        client
            .post().uri("/api/v1/events").contentType(type).body(body.replace("NS", ns))
            .exchange()
            .expectStatus().isOk()
            .expectBody().returnResult().getResponseBody();
    return JsonMapper.shared().readTree(answer);
  }
}
