package dev.attune.searchlog;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationListener;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.PayloadApplicationEvent;
import org.springframework.jdbc.core.simple.JdbcClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Logs arrive late, twice and out of order; the tables and what listeners know end up the same. */
@AttuneIntegrationTest
class ArrivalOrderTest {

  private static final Instant START = Instant.parse("2025-03-01T08:00:00Z");

  @Autowired SearchLog log;
  @Autowired JdbcClient jdbc;
  @Autowired ConfigurableApplicationContext context;

  private final JsonMapper json = JsonMapper.shared();

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void anyOrderAndAnyBatchesGiveTheSameTables(long seed) {
    String ns = "order-" + UUID.randomUUID();
    Random random = new Random(seed);
    List<JsonNode> items = randomLog(random, ns, 120);
    Learner learner = new Learner(ns);
    context.addApplicationListener(learner);
    try {
      ingest(items, List.of(items.size()));
      List<Map<String, Object>> expected = dump(ns);
      assertThat(expected).hasSizeGreaterThan(60);
      learner.assertKnowsWhatIsStored();
      for (int variant = 0; variant < 4; variant++) {
        wipe(ns);
        learner.known.clear();
        List<JsonNode> other = new ArrayList<>(items);
        other.addAll(items.subList(0, items.size() / 2));
        Collections.shuffle(other, random);
        List<Integer> sizes = new ArrayList<>();
        for (int left = other.size(); left > 0; left -= sizes.getLast()) {
          sizes.add(Math.min(left, 1 + random.nextInt(variant == 0 ? 1 : 40)));
        }
        ingest(other, sizes);

        assertThat(dump(ns)).isEqualTo(expected);
        learner.assertKnowsWhatIsStored();
      }
    } finally {
      context.removeApplicationListener(learner);
    }
  }

  @Test
  void lateQueryTellsWhoseItsEarlierEventsAre() {
    String ns = "late-" + UUID.randomUUID();
    String user = ns + "-u";
    ObjectNode click = event(ns, "e", START).put("query_id", ns + "-q").put("client_id", ns + "-browser");
    ObjectNode query = query(ns, "q", "shoes", START).put("user_id", user).put("session_id", ns + "-s");

    log.ingest(List.<JsonNode>of(click).stream());
    assertThat(log.events(List.of(ns + "-e")).getFirst().userId()).isEqualTo(ns + "-browser");
    log.ingest(List.<JsonNode>of(query).stream());

    LoggedEvent resolved = log.events(List.of(ns + "-e")).getFirst();
    assertThat(resolved.userId()).isEqualTo(user);
    assertThat(resolved.sessionId()).isEqualTo(ns + "-s");
    assertThat(log.session(ns + "-browser", "~2025-03-01T08:00:00.000000Z", 10)).isEmpty();
  }

  @Test
  void thirtyMinutesOfSilenceEndASession() {
    String ns = "silence-" + UUID.randomUUID();
    String user = ns + "-u";
    List<JsonNode> items = new ArrayList<>();
    for (int minute : new int[] {0, 30, 61, 91}) {
      items.add(query(ns, "q" + minute, "words " + minute, START.plusSeconds(minute * 60L)).put("user_id", user));
    }
    log.ingest(items.stream());

    assertThat(log.recentQueries(user, 10))
        .extracting(LoggedQuery::sessionId)
        .containsExactly(
            "~2025-03-01T09:01:00.000000Z", "~2025-03-01T09:01:00.000000Z",
            "~2025-03-01T08:00:00.000000Z", "~2025-03-01T08:00:00.000000Z");

    // A late item in the gap joins the two.
    log.ingest(List.<JsonNode>of(query(ns, "late", "late", START.plusSeconds(45 * 60)).put("user_id", user)).stream());

    assertThat(log.session(user, "~2025-03-01T08:00:00.000000Z", 10)).hasSize(5);
    assertThat(log.currentSession(user, START.plusSeconds(100 * 60), 2))
        .extracting(step -> step.query().orElseThrow().text())
        .containsExactly("words 61", "words 91");
    assertThat(log.currentSession(user, START.plusSeconds(121 * 60), 2)).isEmpty();
  }

  private void ingest(List<JsonNode> items, List<Integer> sizes) {
    int from = 0;
    for (int size : sizes) {
      SearchLog.IngestReport report = log.ingest(items.subList(from, from + size).stream());
      assertThat(report.errors()).isEmpty();
      assertThat(report.accepted() + report.duplicates()).isEqualTo(size);
      from += size;
    }
  }

  /** A log with repeated ids of different content, events without ids, and users named in all the ways there are. */
  private List<JsonNode> randomLog(Random random, String ns, int size) {
    List<JsonNode> items = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      Instant at = START.plusSeconds(60L * 7 * random.nextInt(100));
      ObjectNode item =
          random.nextInt(3) == 0
              ? query(ns, "q" + random.nextInt(30), "words " + random.nextInt(5), at)
              : event(ns, "e" + random.nextInt(60), at);
      boolean event = item.has("action_name");
      if (event && random.nextBoolean()) {
        item.remove("event_id");
      }
      if (event && random.nextInt(4) > 0) {
        item.put("query_id", ns + "-q" + random.nextInt(30));
      }
      switch (random.nextInt(6)) {
        case 0 -> item.put("user_id", ns + "-u" + random.nextInt(3));
        case 1 -> item.putObject(event ? "event_attributes" : "query_attributes").put("user_id", ns + "-u1");
        case 2, 3 -> item.put("client_id", ns + "-c" + random.nextInt(3));
        case 4 -> item.put("client_id", ns + "-c1").put("user_id", ns + "-u" + random.nextInt(2));
        default -> item.putNull("user_id");
      }
      if (random.nextInt(4) == 0) {
        item.put("session_id", ns + "-s" + random.nextInt(3));
      }
      items.add(item);
    }
    return items;
  }

  private ObjectNode query(String ns, String id, String text, Instant at) {
    return json.createObjectNode()
        .put("application", ns).put("query_id", ns + "-" + id).put("user_query", text).put("timestamp", at.toString());
  }

  private ObjectNode event(String ns, String id, Instant at) {
    return json.createObjectNode()
        .put("application", ns).put("event_id", ns + "-" + id).put("action_name", "click")
        .put("timestamp", at.toString());
  }

  private List<Map<String, Object>> dump(String ns) {
    List<Map<String, Object>> rows = new ArrayList<>();
    rows.addAll(
        jdbc.sql("select q::text from logged_query q where application = ? order by query_id")
            .param(ns)
            .query()
            .listOfRows());
    rows.addAll(
        jdbc.sql("select e::text from logged_event e where application = ? order by event_id")
            .param(ns)
            .query()
            .listOfRows());
    return rows;
  }

  private void wipe(String ns) {
    jdbc.sql("delete from logged_query where application = ?").param(ns).update();
    jdbc.sql("delete from logged_event where application = ?").param(ns).update();
  }

  /** Does as {@link ActivityRecorded} asks of listeners, for the items of one test. */
  private final class Learner implements ApplicationListener<PayloadApplicationEvent<ActivityRecorded>> {

    final Map<String, String> known = new HashMap<>();
    private final String ns;

    Learner(String ns) {
      this.ns = ns;
    }

    @Override
    public void onApplicationEvent(PayloadApplicationEvent<ActivityRecorded> event) {
      ActivityRecorded activity = event.getPayload();
      activity.withdrawn().forEach(
          w -> assertThat(known.remove(w.kind() + w.id())).isEqualTo(String.valueOf(w.userId())));
      activity.queries().forEach(
          q -> assertThat(known.put("QUERY" + q.queryId(), String.valueOf(q.userId()))).isNull());
      activity.events().forEach(e -> assertThat(known.put("EVENT" + e.eventId(), String.valueOf(e.userId()))).isNull());
    }

    void assertKnowsWhatIsStored() {
      Map<String, String> stored = new HashMap<>();
      jdbc.sql("select 'QUERY' || query_id, user_id from logged_query where application = :ns"
              + " union all select 'EVENT' || event_id, user_id from logged_event where application = :ns")
          .param("ns", ns)
          .query(row -> {
            stored.put(row.getString(1), String.valueOf(row.getString(2)));
          });
      assertThat(known).isEqualTo(stored);
    }
  }
}
