package dev.attune.admin;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import dev.attune.AttuneIntegrationTest;
import dev.attune.knowledge.KnowledgeStores;
import dev.attune.knowledge.UserErased;
import dev.attune.ranking.DocumentWarming;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.EmbedMode;
import dev.attune.retrieval.Embedder;
import dev.attune.retrieval.LuceneDocumentIndex;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Views of the administration, and the jobs that it starts. */
@AttuneIntegrationTest
class AdminIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @Autowired AuditTrail audit;
  @Autowired ApplicationEventPublisher events;
  @Autowired KnowledgeStores stores;
  @Autowired DocumentWarming warming;
  @Autowired Embedder embedder;
  @Autowired JobRecord jobRecord;

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
  void jobsAreStartedOnceAndAudited() {
    rest.post().uri("/api/v1/documents").contentType(MediaType.APPLICATION_NDJSON)
        .body("{\"id\":\"admin-job-1\",\"title\":\"Reindexed\",\"text\":\"quokkaword\"}")
        .exchange().expectStatus().isOk();
    for (String job : List.of("rebuild", "reindex")) {
      rest.post().uri("/api/v1/admin/jobs/" + job).header("X-Audit-Reason", "test of jobs").exchange()
          .expectStatus().isEqualTo(202);
      await().atMost(Duration.ofSeconds(60)).until(() -> !job(job).get("state").asString().equals("running"));
      assertThat(job(job).get("state").asString()).isEqualTo("done");
      assertThat(job(job).get("finishedAt").asString()).isNotEmpty();
    }
    assertThat(job("reindex").get("done").asInt()).isPositive().isEqualTo(job("reindex").get("total").asInt());
    assertThat(get("/api/v1/search?q=quokkaword&retrieval=lexical").get("total").asInt()).isEqualTo(1);
    rest.post().uri("/api/v1/admin/jobs/none").exchange().expectStatus().isNotFound();
    assertThat(get("/api/v1/admin/audit?size=20").get("items")).anySatisfy(entry -> {
      assertThat(entry.get("action").asString()).isEqualTo("POST /api/v1/admin/jobs/{job}");
      assertThat(entry.get("subject").asString()).isEqualTo("reindex");
      assertThat(entry.get("reason").asString()).isEqualTo("test of jobs");
      assertThat(entry.get("status").asInt()).isEqualTo(202);
    });
  }

  @Test
  void aRunningJobIsNotStartedAgain(@TempDir Path directory) throws Exception {
    CountDownLatch entered = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    try (LuceneDocumentIndex index =
        LuceneDocumentIndex.open(directory, embedder, EmbedMode.NONE, change -> {
          // The write before the job holds it up.
          entered.countDown();
          assertThatCode(leave::await).doesNotThrowAnyException();
        })) {
      Thread first = Thread.ofPlatform().start(
          () -> index.put(List.of(new Document("held", "t", "x", null, null, Map.of()))));
      entered.await();
      StartedJobs jobs = new StartedJobs(stores, index, warming, jobRecord);
      jobs.start("reindex");
      assertThatThrownBy(() -> jobs.start("reindex")).hasMessageContaining("409");
      leave.countDown();
      first.join();
      await().atMost(Duration.ofSeconds(30)).until(() -> jobs.jobs().stream()
          .anyMatch(job -> job.id().equals("reindex") && job.state().equals("done")));
    }
  }

  @Test
  void anInterruptedJobBeginsAgainWithTheNextStart(@TempDir Path directory) throws Exception {
    CountDownLatch entered = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    AtomicBoolean hold = new AtomicBoolean();
    try (LuceneDocumentIndex index =
        LuceneDocumentIndex.open(directory, embedder, EmbedMode.NONE, change -> {
          if (hold.get()) {
            entered.countDown();
            assertThatCode(leave::await).doesNotThrowAnyException();
          }
        })) {
      index.put(List.of(new Document("resumed", "t", "x", null, null, Map.of())));
      hold.set(true);
      StartedJobs jobs = new StartedJobs(stores, index, warming, jobRecord);
      jobs.start("reindex");
      entered.await();
      Thread end = Thread.ofPlatform().start(() -> assertThatCode(jobs::stop).doesNotThrowAnyException());
      // The step that the job is at is waited for.
      await().until(() -> end.getState() == Thread.State.TIMED_WAITING);
      leave.countDown();
      end.join();
      assertThat(jobRecord.unfinished()).containsExactly("reindex");

      StartedJobs next = new StartedJobs(stores, index, warming, jobRecord);
      next.resume();
      await().atMost(Duration.ofSeconds(30)).until(() -> next.jobs().stream()
          .anyMatch(job -> job.id().equals("reindex") && job.state().equals("done") && job.done() == 1));
      assertThat(jobRecord.unfinished()).isEmpty();
    }
  }

  @Test
  void aRebuildSaysHowFarItIsAndEndsEarlyWhenTheServiceEnds() {
    for (String user : List.of("progress-1", "progress-2", "progress-3")) {
      rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON)
          .body("{\"query_id\":\"%1$s\",\"user_query\":\"x\",\"query_attributes\":{\"user_id\":\"%1$s\"}}"
              .formatted(user))
          .exchange().expectStatus().isOk();
    }
    List<Long> told = new ArrayList<>();
    assertThat(stores.rebuildAll((done, total) -> {
      assertThat(total).as("users of the log").isGreaterThanOrEqualTo(3);
      told.add(done);
      return done < 2;
    })).isEqualTo(2);
    assertThat(told).containsExactly(1L, 2L);
  }

  private JsonNode job(String id) {
    return get("/api/v1/admin/jobs").valueStream().filter(job -> job.get("id").asString().equals(id)).findFirst()
        .orElseThrow();
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
    JsonNode user = get("/api/v1/admin/users/" + prefix + "-some");
    assertThat(user.get("recentQueries").size()).isEqualTo(2);
    assertThat(user.get("simulated").asBoolean()).isFalse();
    // Who searches as a user of the demo does not make a person of it.
    String invented = prefix + "-invented";
    rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON).body(
            """
            {"query_id":"%s-1","user_query":"a","timestamp":"2026-10-01T10:00:00Z",\
            "query_attributes":{"user_id":"%1$s","simulated":true}}
            {"query_id":"%1$s-2","user_query":"b","timestamp":"2026-10-02T10:00:00Z",\
            "query_attributes":{"user_id":"%1$s"}}
            """.formatted(invented))
        .exchange().expectStatus().isOk();
    assertThat(get("/api/v1/admin/users/" + invented).get("simulated").asBoolean()).isTrue();
    rest.get().uri("/api/v1/admin/users/nobody-" + prefix).exchange().expectStatus().isNotFound();
    rest.get().uri("/api/v1/admin/users?sort=shoeSize").exchange().expectStatus().isBadRequest();
    rest.get().uri(URI.create("/api/v1/admin/users?q=%00")).exchange().expectStatus().isBadRequest();
    assertThat(get("/api/v1/admin/overview").get("queries").asInt()).isGreaterThanOrEqualTo(6);
    assertThat(get("/api/v1/admin/quality").at("/days/0/queries").asInt()).isPositive();
  }

  @Test
  void usersAreListedByTheSizeOfTheirStoresToo() {
    rest.post().uri("/api/v1/admin/kb").contentType(MediaType.APPLICATION_NDJSON)
        .body("{\"id\":\"adm:1\",\"label\":\"Admquasar\"}\n{\"id\":\"adm:2\",\"label\":\"Admpulsar\"}").exchange()
        .expectStatus().isOk();
    String prefix = "sizes-" + UUID.randomUUID();
    StringBuilder log = new StringBuilder();
    List.of("a:nothing known", "b:admquasar admpulsar", "c:admquasar", "d:unknown too", "e:nor this").forEach(line ->
        log.append("{\"user_id\":\"%s-%s\",\"user_query\":\"%s\"}%n"
            .formatted(prefix, line.substring(0, 1), line.substring(2))));
    rest.post().uri("/api/v1/events").contentType(MediaType.APPLICATION_NDJSON).body(log.toString()).exchange()
        .expectStatus().isOk();

    assertThat(bySize("-entities", prefix)).containsExactly("b 2", "c 1", "a 0", "d 0", "e 0");
    assertThat(bySize("entities", prefix)).containsExactly("a 0", "d 0", "e 0", "c 1", "b 2");
  }

  /** Last letters of the users and their entities, read in pages of two. */
  private List<String> bySize(String sort, String prefix) {
    List<String> listed = new ArrayList<>();
    for (int page = 0; page < 3; page++) {
      JsonNode users = get("/api/v1/admin/users?size=2&page=%d&sort=%s&q=%s".formatted(page, sort, prefix));
      assertThat(users.get("total").asInt()).isEqualTo(5);
      users.get("items").forEach(user -> {
        String id = user.get("userId").asString();
        listed.add(id.substring(id.length() - 1) + " " + user.get("entities").asInt());
      });
    }
    return listed;
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
    return json.readTree(
        rest.get().uri(uri).exchange().expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }
}
