package dev.attune.knowledge;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.knowledge.UserKnowledge.SelectedEntity;
import dev.attune.knowledge.UserKnowledge.SelectionContext;
import dev.attune.retrieval.DocumentsChanged;
import dev.attune.searchlog.ActivityRecorded;
import dev.attune.searchlog.LoggedEvent;
import dev.attune.searchlog.LoggedQuery;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.ApplicationEventPublisher;

@AttuneIntegrationTest
class SelectionIntegrationTest {

  private static final Set<Mode> ALL = EnumSet.allOf(Mode.class);
  private static final Instant SOON = KnowledgeFixture.at(5);
  private static final Instant LATER = KnowledgeFixture.at(0).plus(Duration.ofDays(40));

  @Autowired private ApplicationEventPublisher events;
  @Autowired private UserKnowledge users;
  @Autowired private Learning learning;

  @BeforeEach
  void films() {
    events.publishEvent(new DocumentsChanged(KnowledgeFixture.films(), List.of()));
  }

  private static SelectionContext query(String query, Instant now) {
    return new SelectionContext(query, null, List.of(), now);
  }

  /** A user who looked for director A twice and saw film a. */
  private String fan() {
    String user = "ks-" + UUID.randomUUID();
    List<LoggedQuery> queries = List.of(KnowledgeFixture.query(user + "q1", user, "kfdirector a", 0),
        KnowledgeFixture.query(user + "q2", user, "kfdirector a films", 1));
    List<LoggedEvent> clicks = List.of(KnowledgeFixture.click(user + "e1", user, "kf0", user + "q1", 0));
    learning.learn(new ActivityRecorded(queries, clicks));
    return user;
  }

  @Test
  void theNamedEntityIsFamiliarWithItsEvents() {
    String user = fan();
    SelectedEntity first = users.select(user, query("kfdirector a", SOON), ALL, 5).getFirst();
    assertThat(first.entityId()).isEqualTo("person:kfdirector-a");
    assertThat(first.mode()).isEqualTo(Mode.FAMILIAR);
    assertThat(first.relevance()).isEqualTo(1);
    assertThat(first.count()).isEqualTo(3);
    assertThat(first.eventIds()).contains(user + "q1", user + "q2", user + "e1");
  }

  @Test
  void unfamiliarEntitiesAreReachedThroughKnownOnes() {
    String user = fan();
    List<SelectedEntity> selected =
        users.select(user, query("kfdirector a", SOON), Set.of(Mode.UNFAMILIAR), 20);
    // The director's other film was never seen.
    assertThat(selected).anySatisfy(entity -> {
      assertThat(entity.entityId()).isEqualTo("work:kf1");
      assertThat(entity.count()).isZero();
      assertThat(entity.via()).isNotNull();
      assertThat(entity.eventIds()).isNotEmpty();
    });
    assertThat(selected).allMatch(entity -> entity.mode() == Mode.UNFAMILIAR);
  }

  @Test
  void whatWasNotSeenForLongIsLapsed() {
    String user = fan();
    List<SelectedEntity> selected = users.select(user, query("kffilma", LATER), Set.of(Mode.LAPSED), 5);
    assertThat(selected).extracting(SelectedEntity::entityId).contains("work:kf0", "person:kfdirector-a");
    assertThat(users.select(user, query("kffilma", LATER), Set.of(Mode.FAMILIAR), 5)).isEmpty();
  }

  @Test
  void anUnrelatedContextSelectsNothing() {
    String user = fan();
    assertThat(users.select(user, query("washing machine repair", SOON), ALL, 5)).isEmpty();
    assertThat(users.select(user, query("", SOON), ALL, 5)).isEmpty();
    assertThat(users.select(user, new SelectionContext(null, null, List.of(), SOON), ALL, 5)).isEmpty();
    assertThat(users.select("ks-nobody", query("kfdirector a", SOON), ALL, 5)).isEmpty();
  }

  @Test
  void pageAndSessionAreContextToo() {
    String user = fan();
    assertThat(users.select(user, new SelectionContext(null, "All about Kffilma", List.of(), SOON), ALL, 5))
        .extracting(SelectedEntity::entityId).contains("person:kfdirector-a");
    assertThat(users.select(user, new SelectionContext(null, null, List.of("work:kf0"), SOON), ALL, 5))
        .extracting(SelectedEntity::entityId).contains("person:kfdirector-a");
  }

  @Test
  void whoSwitchedPersonalizationOffIsNotRemembered() {
    String user = fan();
    learning.change(user, new UserSettings(false, true, null, Set.of()));
    assertThat(users.select(user, query("kfdirector a", SOON), ALL, 5)).isEmpty();
    assertThat(users.interests(user, List.of("person:kfdirector-a"), SOON)).isEmpty();
  }

  /** Whatever was learned and asked: never a forgotten entity, another user's, or one without relation. */
  @Test
  void neverSelectsForgottenOrForeignOrUnrelatedEntities() {
    String canary = "ks-" + UUID.randomUUID();
    learning.learn(new ActivityRecorded(List.of(), List.of(
        KnowledgeFixture.click(canary + "c", canary, "kf9", null, 0))));
    for (int seed = 0; seed < 15; seed++) {
      Random random = new Random(seed);
      String user = "ks-" + UUID.randomUUID();
      List<LoggedEvent> clicks = new ArrayList<>();
      for (int i = 0; i < 12; i++) {
        clicks.add(KnowledgeFixture.click(user + i, user, "kf" + random.nextInt(7), null, i));
      }
      learning.learn(new ActivityRecorded(List.of(), clicks));
      String forgotten = "person:kfdirector-" + (char) ('a' + random.nextInt(3));
      learning.forget(user, List.of(forgotten));
      for (int film = 0; film < 10; film++) {
        List<SelectedEntity> selected =
            users.select(user, query("kffilm" + (char) ('a' + film), SOON), ALL, 50);
        assertThat(selected).as("seed %d film %d", seed, film)
            .noneMatch(entity -> entity.entityId().equals(forgotten))
            .allMatch(entity -> entity.relevance() > 0 && entity.relevance() <= 1)
            .allMatch(entity -> entity.eventIds().stream().allMatch(id -> id.startsWith(user)))
            .allMatch(entity -> entity.count() > 0 || entity.via() != null);
      }
      assertThat(users.eventIds(user, "work:kf9", 10)).isEmpty();
      assertThat(users.interests(user, List.of("work:kf9"), SOON)).isEmpty();
    }
  }
}
