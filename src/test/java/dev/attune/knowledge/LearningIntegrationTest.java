package dev.attune.knowledge;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.retrieval.DocumentsChanged;
import dev.attune.searchlog.ActivityRecorded;
import dev.attune.searchlog.LoggedEvent;
import dev.attune.searchlog.LoggedQuery;
import dev.attune.searchlog.SearchLog;
import dev.attune.searchlog.UserLogs;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;
import tools.jackson.databind.json.JsonMapper;

@AttuneIntegrationTest
class LearningIntegrationTest {

  @Autowired private ApplicationEventPublisher events;
  @Autowired private UserKnowledge users;
  @Autowired private KnowledgeBase knowledge;
  @Autowired private Learning learning;
  @Autowired private EvidenceReader reader;
  @Autowired private EvidenceStore evidence;
  @Autowired private UserPolicyStore policies;
  @Autowired private UserLogs logs;
  @Autowired private SearchLog log;
  @Autowired private JsonMapper json;
  @Autowired private JdbcTemplate jdbc;
  @Autowired private PlatformTransactionManager transactions;

  @BeforeEach
  void films() {
    events.publishEvent(new DocumentsChanged(KnowledgeFixture.films(), List.of()));
  }

  private static String newUser() {
    return "kl-" + UUID.randomUUID();
  }

  private void learn(List<LoggedQuery> queries, List<LoggedEvent> logged) {
    learning.learn(new ActivityRecorded(queries, logged));
  }

  /** The whole store of a user, without what tells users apart. */
  private List<Map<String, Object>> store(String user) {
    List<Map<String, Object>> rows = new ArrayList<>(jdbc.queryForList(
        "select entity_id, count, first_seen, last_seen, sources::text, interest from user_entity "
            + "where user_id = ? order by entity_id", user));
    rows.addAll(jdbc.queryForList("select entity_id, kind, event_id, source, context_id, weight, at "
        + "from user_evidence where user_id = ? order by entity_id, kind, event_id", user));
    return rows;
  }

  private int count(String user, String entityId) {
    return evidence.entities(user).stream().filter(row -> row.entityId().equals(entityId))
        .mapToInt(EvidenceStore.EntityRow::count).findFirst().orElse(0);
  }

  @Test
  void countsEachItemOnceAndSaysWhere() {
    String user = newUser();
    LoggedQuery query = KnowledgeFixture.query(user + "q1", user, "kffilma by kfdirector a", 0);
    LoggedEvent click = KnowledgeFixture.click(user + "e1", user, "kf0", user + "q1", 1);
    learn(List.of(query), List.of(click));
    learn(List.of(query), List.of(click));
    learn(List.of(), List.of(KnowledgeFixture.event(user + "e2", user, "impression", "kf5", null, 2)));
    assertThat(count(user, "work:kf0")).isEqualTo(2);
    assertThat(count(user, "person:kfdirector-a")).isEqualTo(2);
    assertThat(count(user, "person:kfactor-a")).isEqualTo(1);
    assertThat(count(user, "work:kf5")).isZero();
    assertThat(users.eventIds(user, "work:kf0", 10)).containsExactly(user + "e1", user + "q1");
    Map<String, Double> interests = users.interests(user,
        List.of("work:kf0", "person:kfactor-a", "work:kf5"), KnowledgeFixture.at(1));
    assertThat(interests).containsOnlyKeys("work:kf0", "person:kfactor-a");
    assertThat(interests.get("work:kf0")).isBetween(1.99, 2.0);
    double later = users.interests(user, List.of("work:kf0"), KnowledgeFixture.at(1 + 24 * 30)).get("work:kf0");
    assertThat(later / interests.get("work:kf0")).isBetween(0.4999, 0.5001);
  }

  /** A log of one user, with names known only later for some items. */
  private static List<ActivityRecorded> log(String user, Random random, int items) {
    List<ActivityRecorded> log = new ArrayList<>();
    for (int i = 0; i < items; i++) {
      int film = random.nextInt(10);
      int hours = random.nextInt(24 * 60);
      if (random.nextBoolean()) {
        String text = random.nextBoolean() ? "kffilm" + (char) ('a' + film) : "films of Kfdirector " + (char) ('A'
            + film / 2) + " with kfactor " + (char) ('a' + film);
        log.add(new ActivityRecorded(
            List.of(KnowledgeFixture.query("q" + i, user, text, hours)), List.of()));
      } else {
        String action = List.of("click", "purchase", "page_view", "impression", "custom").get(random.nextInt(5));
        log.add(new ActivityRecorded(List.of(), List.of(KnowledgeFixture.event(
            "e" + i, user, action, "kf" + film, random.nextBoolean() ? "q" + random.nextInt(items) : null, hours))));
      }
    }
    return log;
  }

  private static ActivityRecorded together(List<ActivityRecorded> parts) {
    List<LoggedQuery> queries = new ArrayList<>();
    List<LoggedEvent> logged = new ArrayList<>();
    parts.forEach(part -> {
      queries.addAll(part.queries());
      logged.addAll(part.events());
    });
    return new ActivityRecorded(queries, logged);
  }

  @Test
  void anyOrderRepetitionOrBatchingEndsTheSame() {
    for (int seed = 0; seed < 8; seed++) {
      String first = newUser();
      String second = newUser();
      learning.learn(together(log(first, new Random(seed), 40)));
      Random random = new Random(1000 + seed);
      List<ActivityRecorded> parts = new ArrayList<>(log(second, new Random(seed), 40));
      parts.addAll(parts.subList(0, 15));
      Collections.shuffle(parts, random);
      for (int i = 0; i < parts.size();) {
        int next = Math.min(parts.size(), i + 1 + random.nextInt(7));
        learning.learn(together(parts.subList(i, next)));
        i = next;
      }
      assertThat(store(second)).as("seed %d", seed).isEqualTo(store(first)).isNotEmpty();
    }
  }

  @Test
  void capsDropTheSameWhateverTheOrder() {
    KnowledgeProperties small = KnowledgeFixture.properties("max-evidence", "25", "max-entities", "6");
    EvidenceStore capped = new EvidenceStore(jdbc, small);
    Learning strict = new Learning(knowledge, reader, capped, policies, logs, small,
        Clock.fixed(Instant.parse("2026-08-01T00:00:00Z"), ZoneOffset.UTC));
    TransactionTemplate transaction = new TransactionTemplate(transactions);
    for (int seed = 0; seed < 6; seed++) {
      String first = newUser();
      String second = newUser();
      ActivityRecorded all = together(log(first, new Random(seed), 60));
      transaction.executeWithoutResult(status -> strict.learn(all));
      List<ActivityRecorded> parts = new ArrayList<>(log(second, new Random(seed), 60));
      Collections.shuffle(parts, new Random(2000 + seed));
      parts.forEach(part -> transaction.executeWithoutResult(status -> strict.learn(part)));
      assertThat(store(second)).as("seed %d", seed).isEqualTo(store(first));
      assertThat(capped.entities(first)).hasSize(6);
    }
  }

  /** Through the real log, with items whose user is known only when their query arrives. */
  @Test
  void rebuildingFromTheLogEndsTheSame() {
    String user = newUser();
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      String query = user + "-q" + i;
      lines.add("""
          {"event_id":"%s-e%d","action_name":"click","query_id":"%s","timestamp":"2026-06-0%dT11:00:00Z",
           "event_attributes":{"object":{"object_id":"kf%d"}}}""".formatted(user, i, query, 1 + i % 9, i % 10));
      lines.add("""
          {"query_id":"%s","user_query":"kffilm%s","timestamp":"2026-06-0%dT10:00:00Z",
           "query_attributes":{"user_id":"%s"}}""".formatted(query, (char) ('a' + i % 10), 1 + i % 9, user));
    }
    Collections.shuffle(lines, new Random(5));
    for (String line : lines) {
      log.ingest(Stream.of(json.readTree(line)));
    }
    learning.forget(user, List.of("person:kfdirector-b"));
    List<Map<String, Object>> learned = store(user);
    assertThat(count(user, "work:kf0")).isEqualTo(4);
    assertThat(count(user, "person:kfdirector-b")).isZero();
    learning.rebuild(user);
    assertThat(store(user)).isEqualTo(learned);
  }

  @Test
  void withdrawnItemsLeaveNoTrace() {
    String wrong = newUser();
    String right = newUser();
    LoggedEvent before = KnowledgeFixture.click(right + "e", wrong, "kf1", null, 0);
    learn(List.of(), List.of(before));
    assertThat(count(wrong, "work:kf1")).isEqualTo(1);
    learning.learn(new ActivityRecorded(List.of(),
        List.of(KnowledgeFixture.click(right + "e", right, "kf1", null, 0)),
        List.of(new ActivityRecorded.Withdrawal(ActivityRecorded.Kind.EVENT, right + "e", wrong))));
    assertThat(store(wrong)).isEmpty();
    assertThat(count(right, "work:kf1")).isEqualTo(1);
  }

  @Test
  void pausedAndForgottenAndOldAndSensitiveThingsAreNotLearned() {
    String user = newUser();
    knowledge.importAll("test", Stream.of(new Entity(
        "kl:health", "Kldisease", List.of(), "health", null, 0.4, List.of())));
    learn(List.of(KnowledgeFixture.query(user + "1", user, "kldisease", 0)), List.of());
    assertThat(store(user)).isEmpty();

    learn(List.of(), List.of(KnowledgeFixture.click(user + "2", user, "kf2", null, 0)));
    learning.forget(user, List.of("work:kf2"));
    learn(List.of(), List.of(KnowledgeFixture.click(user + "3", user, "kf2", null, 1)));
    assertThat(count(user, "work:kf2")).isZero();
    assertThat(count(user, "person:kfdirector-b")).isEqualTo(2);
    assertThat(learning.allow(user, List.of("work:kf2"))).isTrue();
    // What happened before the user allowed it again stays forgotten, even if it arrives late.
    learn(List.of(), List.of(KnowledgeFixture.click(user + "4", user, "kf2", null, 2)));
    assertThat(count(user, "work:kf2")).isZero();
    Instant soon = Instant.now().plusSeconds(60);
    learn(List.of(), List.of(click(user + "5", user, "kf2", soon)));
    assertThat(count(user, "work:kf2")).isEqualTo(1);

    learning.change(user, new UserSettings(true, false, null, Set.of()));
    learn(List.of(), List.of(click(user + "6", user, "kf2", soon)));
    assertThat(count(user, "work:kf2")).isEqualTo(1);

    String old = newUser();
    learn(List.of(), List.of(click(old, old, "kf2", Instant.parse("1999-01-01T00:00:00Z"))));
    assertThat(store(old)).isEmpty();
  }

  private static LoggedEvent click(String id, String user, String document, Instant at) {
    return new LoggedEvent(id, "click", true, user, null, null, at,
        new LoggedEvent.PageObject(document, null, null, null), null, false);
  }

  @Test
  void retentionForgets() {
    String user = newUser();
    learn(List.of(), List.of(KnowledgeFixture.click(user + "1", user, "kf3", null, 0),
        click(user + "2", user, "kf4", Instant.now())));
    learning.change(user, new UserSettings(true, true, 30, Set.of()));
    assertThat(count(user, "work:kf3")).isZero();
    assertThat(count(user, "work:kf4")).isEqualTo(1);
  }

  @Test
  void pagesThatAreNoDocumentsAreReadAsText() {
    String user = newUser();
    learn(List.of(), List.of(new LoggedEvent(user, "click", true, user, null, null, KnowledgeFixture.at(0),
        new LoggedEvent.PageObject("https://example.org/1", "Interview with Kfdirector C",
            "It is about Kffilme and Kfactor E. Kffilme!", null), null, false)));
    assertThat(count(user, "person:kfdirector-c")).isEqualTo(1);
    assertThat(count(user, "work:kf4")).isEqualTo(1);
    assertThat(count(user, "person:kfactor-e")).isEqualTo(1);
  }
}
