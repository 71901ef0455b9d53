package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.llm.TestModel;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.segments.Digest;
import dev.attune.ranking.segments.SegmentStore;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.springframework.util.FileSystemUtils;

/**
 * Writing and finding records, and ranking a list whose documents are mapped against the same list in memory. See
 * docs/benchmarks.md for the command.
 */
final class DocumentStoreBenchmark {

  private static final Digest CONTENT = Digest.of("content");
  private static final long LIMIT = 2L << 30;

  private DocumentStoreBenchmark() {}

  /** Runs it; the arguments are list lengths. */
  public static void main(String[] args) throws Exception {
    Path directory = Files.createTempDirectory("document-store");
    try {
      System.out.println("| record | put/s | put GB/s | first get/s (checked) | later get/s | open ms |");
      System.out.println("| --- | ---: | ---: | ---: | ---: | ---: |");
      records(directory.resolve("large"), 1_150_000, 1_000);
      records(directory.resolve("small"), 110_000, 10_000);
      System.out.println("| documents | memory ms | mapped ms | after a restart, first ms | mapped / memory |");
      System.out.println("| --- | ---: | ---: | ---: | ---: |");
      for (String documents : args) {
        ranking(directory.resolve("ranking" + documents), Integer.parseInt(documents));
      }
    } finally {
      FileSystemUtils.deleteRecursively(directory);
    }
  }

  private static void records(Path directory, int length, int count) throws IOException {
    Files.createDirectory(directory);
    byte[] bytes = new byte[length];
    new SplittableRandom(1).nextBytes(bytes);
    MemorySegment value = Arena.ofAuto().allocateFrom(ValueLayout.JAVA_BYTE, bytes);
    Digest[] documents = IntStream.range(0, count).mapToObj(i -> Digest.of("d" + i)).toArray(Digest[]::new);
    SegmentStore store = open(directory);
    long start = System.nanoTime();
    for (Digest document : documents) {
      store.put("space", document, CONTENT, value);
    }
    double put = seconds(start);
    store.close();
    start = System.nanoTime();
    store = open(directory);
    double opened = seconds(start);
    start = System.nanoTime();
    get(store, documents);
    double first = seconds(start);
    start = System.nanoTime();
    for (int i = 0; i < 20; i++) {
      get(store, documents);
    }
    double later = seconds(start) / 20;
    store.close();
    System.out.printf("| %,d bytes | %,.0f | %.2f | %,.0f | %,.0f | %.1f |%n", length, count / put,
        (double) count * length / put / 1e9, count / first, count / later, opened * 1000);
  }

  private static void get(SegmentStore store, Digest[] documents) {
    for (Digest document : documents) {
      Objects.requireNonNull(store.find("space", document, CONTENT));
    }
  }

  private static SegmentStore open(Path directory) throws IOException {
    SegmentStore store = SegmentStore.open(directory, LIMIT, Duration.ofMinutes(5), InstantSource.system());
    store.use("space");
    return store;
  }

  private static double seconds(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  private static void ranking(Path directory, int documents) throws Exception {
    Files.createDirectory(directory);
    List<RankCandidate> list =
        IntStream.range(0, documents)
            .mapToObj(i -> new RankCandidate("d" + i, "", RankingFixture.text(i, 150)))
            .toList();
    RankingFixture memory = new RankingFixture(Map.of(), TestModel.get());
    RankingFixture mapped = new RankingFixture(Map.of(), TestModel.get(), directory);
    fill(memory, mapped, list);
    while (mapped.store.usage().documents() > 0) {
      Thread.sleep(50);
    }
    double[][] millis = new double[2][9];
    for (int round = -2; round < 9; round++) {
      for (int which = 0; which < 2; which++) {
        double took = millis(which == 0 ? memory : mapped, list);
        if (round >= 0) {
          millis[which][round] = took;
        }
      }
    }
    mapped.store.close();
    RankingFixture restarted = new RankingFixture(Map.of(), TestModel.get(), directory);
    restarted.model();
    double first = millis(restarted, list);
    restarted.store.close();
    double inMemory = median(millis[0]);
    double onDisk = median(millis[1]);
    System.out.printf("| %d | %.1f | %.1f | %.1f | %.3f |%n", documents, inMemory, onDisk, first, onDisk / inMemory);
  }

  /** Reads once and gives both the same. */
  private static void fill(RankingFixture memory, RankingFixture mapped, List<RankCandidate> list) {
    memory.rank("fill", list);
    InferenceBackend backend = TestModel.get().backend();
    mapped.model();
    for (RankCandidate candidate : list) {
      String hash = BlockPrompt.contentHash(candidate.title(), candidate.text());
      DocumentKvStore.Key key = new DocumentKvStore.Key(mapped.model().space(), candidate.id(), hash);
      KvSegment read = Objects.requireNonNull(memory.store.find(key));
      mapped.store.claim(key).complete(backend.restore(backend.image(read)));
    }
  }

  private static double millis(RankingFixture fixture, List<RankCandidate> list) {
    long start = System.nanoTime();
    Ranker.Ranking ranking = fixture.rank("which market in the old river village is open in winter", list);
    double millis = (System.nanoTime() - start) / 1e6;
    if (ranking.warmDocuments() != list.size()) {
      throw new IllegalStateException("Only %d documents were warm".formatted(ranking.warmDocuments()));
    }
    return millis;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }
}
