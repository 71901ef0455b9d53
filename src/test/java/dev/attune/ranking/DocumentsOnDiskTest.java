package dev.attune.ranking;

import static dev.attune.ranking.RankingFixture.TEXTS;
import static dev.attune.ranking.RankingFixture.candidates;
import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import dev.attune.ranking.DocumentKvStore.Key;
import dev.attune.ranking.Ranker.Ranking;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.jspecify.annotations.Nullable;

/** Documents that were read stay read: the real model, few layers for speed. */
class DocumentsOnDiskTest {

  private static final String QUERY = "which organ pumps blood";

  @TempDir Path directory;
  private @Nullable RankingFixture running;

  private RankingFixture start(Map<String, String> settings) {
    stop();
    RankingFixture fixture = new RankingFixture(settings, TestModel.get(), directory);
    running = fixture;
    return fixture;
  }

  @AfterEach
  void stop() {
    if (running != null) {
      running.store.close();
    }
  }

  @Test
  void aRestartKeepsDocumentsWarmAndScoresTheSame() throws IOException {
    RankingFixture first = start(Map.of("layer", "2"));
    double[] cold = first.rank(QUERY, candidates("d", TEXTS)).scores();
    awaitWritten(first, 10);
    assertThat(first.store.usage().documents()).as("in memory of the service").isZero();
    Ranking mapped = first.rank(QUERY, candidates("d", TEXTS));
    assertThat(mapped.warmDocuments()).isEqualTo(10);
    assertThat(mapped.scores()).isEqualTo(cold);

    Ranking restarted = start(Map.of("layer", "2")).rank(QUERY, candidates("d", TEXTS));
    assertThat(restarted.warmDocuments()).isEqualTo(10);
    assertThat(restarted.scores()).isEqualTo(cold);

    assertThat(start(Map.of("layer", "3")).rank(QUERY, candidates("d", TEXTS)).warmDocuments())
        .as("another layer is another space")
        .isZero();
  }

  @Test
  void aDamagedEntryIsReadAnew() throws IOException {
    RankingFixture first = start(Map.of("layer", "2"));
    double[] cold = first.rank(QUERY, candidates("d", TEXTS)).scores();
    awaitWritten(first, 10);
    stop();
    try (Stream<Path> files = Files.list(directory);
        RandomAccessFile file = new RandomAccessFile(files.findFirst().orElseThrow().toFile(), "rw")) {
      long middle = 600_000;
      file.seek(middle);
      int before = file.read();
      file.seek(middle);
      file.write(before ^ 4);
    }
    RankingFixture second = start(Map.of("layer", "2"));
    Ranking ranking = second.rank(QUERY, candidates("d", TEXTS));
    assertThat(ranking.warmDocuments()).isEqualTo(9);
    assertThat(ranking.scores()).isEqualTo(cold);
    assertThat(second.store.usage().stored().damaged()).isEqualTo(1);
    awaitWritten(second, 10);
  }

  @Test
  void changedAndDeletedDocumentsAreGoneOnDiskToo() {
    RankingFixture first = start(Map.of("layer", "2"));
    first.rank(QUERY, candidates("d", TEXTS));
    awaitWritten(first, 10);
    first.store.retain("d1", null);
    first.store.retain("d2", "other");
    assertThat(first.store.holds("d1")).isFalse();
    assertThat(first.store.contains(key(first, 2))).isFalse();
    assertThat(first.store.contains(key(first, 3))).isTrue();
    assertThat(start(Map.of("layer", "2")).rank(QUERY, candidates("d", TEXTS)).warmDocuments()).isEqualTo(8);
  }

  @Test
  void aSmallStoreOnDiskStaysWithinItsLimit() {
    // A document of 20 tokens takes 60 KB here.
    RankingFixture small = start(Map.of("layer", "2", "store-size", "300KB", "resident-size", "1MB"));
    small.rank(QUERY, candidates("d", TEXTS));
    Awaitility.await().atMost(Duration.ofSeconds(30)).until(() -> small.store.usage().documents() == 0);
    DocumentKvStore.Stored stored = small.store.usage().stored();
    assertThat(stored.bytes()).isLessThanOrEqualTo(stored.limit());
    assertThat(stored.documents()).isBetween(1, 9);
    assertThat(stored.evicted()).isEqualTo(10 - stored.documents());
    assertThat(small.store.hasRoom()).isFalse();
    assertThat(small.rank(QUERY, candidates("d", TEXTS)).documents()).isEqualTo(10);
  }

  @Test
  void whatABackendHoldsItselfTakesNoPlaceOnAFullDisk() {
    LanguageModel apart = withOwnMemory(TestModel.get(), 10_000_000);
    RankingFixture small = new RankingFixture(
        Map.of("layer", "2", "store-size", "300KB", "resident-size", "100KB"), apart, directory);
    running = small;
    double[] cold = small.rank(QUERY, candidates("d", TEXTS)).scores();
    Awaitility.await().atMost(Duration.ofSeconds(30)).until(() -> small.store.usage().stored().documents() > 0);
    Ranking again = small.rank(QUERY, candidates("d", TEXTS));
    assertThat(again.warmDocuments()).isEqualTo(10);
    assertThat(again.scores()).isEqualTo(cold);
    DocumentKvStore.Usage usage = small.store.usage();
    assertThat(usage.limit()).isEqualTo(8_000_000);
    assertThat(usage.documents() + usage.stored().documents()).isEqualTo(10);
    assertThat(usage.stored().evicted()).isZero();
    assertThat(small.store.hasRoom()).as("where the backend holds them").isTrue();
  }

  @Test
  void withoutSuchABackendTheLimitIsThatOfTheServiceAgain() {
    RankingFixture fixture = new RankingFixture(
        Map.of("layer", "2", "store-size", "0", "resident-size", "200KB"), withOwnMemory(TestModel.get(), 10_000_000));
    fixture.rank(QUERY, candidates("d", TEXTS));
    assertThat(fixture.store.usage().documents()).isEqualTo(10);
    fixture.store.use(fixture.model().space(), TestModel.get().backend());
    DocumentKvStore.Usage usage = fixture.store.usage();
    assertThat(usage.limit()).isEqualTo(200 << 10);
    assertThat(usage.bytes()).isLessThanOrEqualTo(usage.limit());
    assertThat(usage.documents() + usage.evicted()).isEqualTo(10);
  }

  @Test
  void whatABackendHoldsItselfLeavesItRoomForItsCalls() {
    RankingFixture fixture = new RankingFixture(
        Map.of("layer", "2", "store-size", "0", "resident-size", "1GB"), withOwnMemory(TestModel.get(), 200_000));
    fixture.rank(QUERY, candidates("d", TEXTS));
    DocumentKvStore.Usage usage = fixture.store.usage();
    assertThat(usage.limit()).isEqualTo(160_000);
    assertThat(usage.bytes()).isBetween(1L, 160_000L);
    assertThat(usage.evicted()).isPositive();
  }

  /** The same model, whose backend says that its segments are in memory of its own. */
  private static LanguageModel withOwnMemory(LanguageModel model, long bytes) {
    InferenceBackend backend = replaced(InferenceBackend.class, model.backend(), "ownMemory", bytes);
    return replaced(LanguageModel.class, model, "backend", backend);
  }

  private static <T> T replaced(Class<T> type, T original, String name, Object result) {
    return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (_, method, arguments) ->
        method.getName().equals(name) ? result : method.invoke(original, arguments)));
  }

  private static Key key(RankingFixture fixture, int i) {
    return new Key(fixture.model().space(), "d" + i, BlockPrompt.contentHash("", TEXTS.get(i)));
  }

  private static void awaitWritten(RankingFixture fixture, int documents) {
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(
            () -> {
              DocumentKvStore.Usage usage = fixture.store.usage();
              return usage.stored().documents() == documents && usage.documents() == 0;
            });
  }
}
