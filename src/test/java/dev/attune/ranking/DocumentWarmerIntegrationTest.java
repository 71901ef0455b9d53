package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.llm.Admission;
import dev.attune.llm.TestModel;
import dev.attune.ranking.DocumentWarming.Progress;
import dev.attune.ranking.DocumentWarming.State;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentsChanged;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;

/** Background reading over the real index and model; few layers, for speed. */
@AttuneIntegrationTest
class DocumentWarmerIntegrationTest {

  /** A field that no other test's documents have. */
  private static final String FIELD = "warmerTestViews";

  private static final String QUERY = "which organ pumps blood";

  @Autowired private DocumentIndex index;
  @Autowired private Admission admission;

  private RankingFixture fixture;
  private DocumentWarmer warmer;

  @BeforeEach
  void open() {
    start(Map.of("layer", "2", "warm", "none", "warm-field", FIELD));
    index.put(IntStream.range(0, 10).mapToObj(i -> document(i, RankingFixture.TEXTS.get(i))).toList());
  }

  private void start(Map<String, String> settings) {
    fixture = new RankingFixture(settings, TestModel.get());
    warmer =
        new DocumentWarmer(
            fixture.ranker, admission, index, fixture.store, fixture.traffic, fixture.demand, fixture.properties);
    warmer.start();
  }

  @AfterEach
  void close() {
    warmer.stop();
    IntStream.range(0, 10).forEach(i -> index.delete("warmer-" + i));
  }

  @Test
  void whatIsPopularIsWarmWhenItIsSearchedFirst() {
    assertThat(warmer.progress().state()).isEqualTo(State.OFF);
    warmer.start();
    Progress progress = done();
    assertThat(progress.planned()).isEqualTo(10);
    assertThat(progress.done()).isEqualTo(10);
    assertThat(progress.residentDocuments()).isEqualTo(10);
    assertThat(progress.tokensPerSecond()).isPositive();
    assertThat(fixture.rank(QUERY, candidates()).warmDocuments()).isEqualTo(10);
  }

  @Test
  void changedAndDeletedDocumentsAreDropped() {
    warmer.start();
    done();
    warmer.changed(new DocumentsChanged(List.of(document(1, RankingFixture.TEXTS.get(1))), List.of()));
    assertThat(fixture.store.usage().documents()).as("same content").isEqualTo(10);
    warmer.changed(new DocumentsChanged(List.of(document(1, "new content")), List.of("warmer-2")));
    assertThat(fixture.store.usage().documents()).isEqualTo(8);
    assertThat(fixture.store.holds("warmer-1")).isFalse();
    assertThat(fixture.store.holds("warmer-2")).isFalse();
  }

  @Test
  void theMostPopularFitIntoSmallMemoryAndNothingIsDroppedForTheRest() {
    warmer.stop();
    start(Map.of("layer", "2", "warm", "none", "warm-field", FIELD, "resident-size", "250KB"));
    warmer.start();
    Progress progress = done();
    assertThat(progress.residentDocuments()).isBetween(1, 9);
    assertThat(progress.residentBytes()).isLessThanOrEqualTo(progress.residentLimit());
    assertThat(progress.evicted()).isZero();
    // Views fall with the number.
    for (int i = 0; i < 10; i++) {
      assertThat(fixture.store.holds("warmer-" + i)).isEqualTo(i < progress.residentDocuments());
    }
  }

  @Test
  void waitsWhileRequestsRun() {
    fixture.traffic.begin();
    warmer.start();
    Awaitility.await().atMost(Duration.ofMinutes(1)).until(() -> warmer.progress().planned() == 10);
    assertThat(warmer.progress().done()).isZero();
    fixture.traffic.end();
    assertThat(done().done()).isEqualTo(10);
  }

  private Progress done() {
    Awaitility.await().atMost(Duration.ofMinutes(2)).until(() -> warmer.progress().state() == State.DONE);
    return warmer.progress();
  }

  private static Document document(int i, String text) {
    return new Document("warmer-" + i, "", text, null, null, Map.of(FIELD, 100 - i));
  }

  private static List<RankCandidate> candidates() {
    return RankingFixture.candidates("warmer-", RankingFixture.TEXTS);
  }
}
