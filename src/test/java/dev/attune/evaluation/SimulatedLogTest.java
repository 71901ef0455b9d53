package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class SimulatedLogTest {

  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private static ObjectNode query(String id, String user, String session, String text, int secondsAgo) {
    ObjectNode item =
        MAPPER.createObjectNode().put("query_id", id).put("user_query", text).put("seconds_ago", secondsAgo);
    item.putObject("query_attributes").put("user_id", user).put("session_id", session);
    return item;
  }

  private static ObjectNode click(String id, String document, int secondsAgo) {
    ObjectNode item =
        MAPPER.createObjectNode().put("query_id", id).put("action_name", "click").put("seconds_ago", secondsAgo);
    item.putObject("event_attributes").putObject("object").put("object_id", document);
    return item;
  }

  /** Out of order on purpose. */
  private static final List<ObjectNode> ITEMS =
      List.of(
          query("q2", "ann", "s1", "second", 80),
          query("q1", "ann", "s1", "first", 100),
          click("q2", "film", 70),
          query("q3", "bob", "s2", "third", 60),
          query("q4", "ann", "s3", "fourth", 50),
          query("q5", "ann", "s3", "fifth", 40));

  @Test
  void stopsBeforeTheAnswerIsSeen() {
    SimulatedLog log = SimulatedLog.of(ITEMS);
    List<Integer> ingested = new ArrayList<>();
    RecordedLog recorded = new RecordedLog(ingested);
    List<SimulatedLog.Moment> moments = new ArrayList<>();
    List<Integer> seenBefore = new ArrayList<>();
    log.play(
        recorded.proxy(),
        log.moments(10, 0, true),
        Duration.ofMinutes(1),
        moment -> {
          moments.add(moment);
          seenBefore.add(ingested.size());
        });
    assertThat(moments)
        .containsExactly(
            new SimulatedLog.Moment("ann", "bob", "s1", "first", "second", Set.of("film")),
            new SimulatedLog.Moment("ann", "bob", "s3", "fourth", "fifth", Set.of()));
    assertThat(seenBefore).containsExactly(1, 5);
  }

  @Test
  void momentsAreTheLastQueriesAndSpreadEvenly() {
    SimulatedLog log = SimulatedLog.of(ITEMS);
    assertThat(log.moments(10, 0, false)).containsExactly(0, 1, 3, 4, 5);
    assertThat(log.moments(1, 0, false)).containsExactly(3, 5);
    assertThat(log.moments(10, 2, false)).containsExactly(1, 4);
  }
}
