package dev.attune.ranking.segments;

import static dev.attune.ranking.segments.TestValues.CONTENT;
import static dev.attune.ranking.segments.TestValues.document;
import static dev.attune.ranking.segments.TestValues.value;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.awaitility.Awaitility;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SegmentStoreTest {

  private static final long MEBIBYTE = 1 << 20;
  private static final Digest OTHER_CONTENT = Digest.of("other");

  @TempDir Path directory;
  private final AtomicLong seconds = new AtomicLong(1_000_000);
  private @Nullable SegmentStore open;

  private SegmentStore open(long limit) throws IOException {
    return open(limit, Duration.ofHours(1));
  }

  private SegmentStore open(long limit, Duration reclaimAfter) throws IOException {
    close();
    SegmentStore store =
        SegmentStore.open(directory, limit, reclaimAfter, () -> Instant.ofEpochSecond(seconds.incrementAndGet()));
    store.use("space");
    open = store;
    return store;
  }

  @AfterEach
  void close() throws IOException {
    if (open != null) {
      open.close();
    }
  }

  @Test
  void aValueIsTheSameAfterAReopening() throws IOException {
    SegmentStore store = open(8 * MEBIBYTE);
    for (int i = 0; i < 20; i++) {
      assertThat(store.put("space", document(i), CONTENT, value(i, 1000 * (i + 1)))).isTrue();
    }
    assertHas(store, 0, 20);
    store = open(8 * MEBIBYTE);
    assertHas(store, 0, 20);
    assertThat(store.usage().documents()).isEqualTo(20);
    assertThat(store.find("other space", document(1), CONTENT)).isNull();
    assertThat(store.find("space", document(1), OTHER_CONTENT)).isNull();
    assertThat(store.find("space", document(21), CONTENT)).isNull();
    // It is written behind the others.
    store.put("space", document(20), CONTENT, value(20, 21_000));
    assertHas(open(8 * MEBIBYTE), 0, 21);
    assertThat(files()).hasSizeLessThan(6);
  }

  @Test
  void newContentReplacesTheOld() throws IOException {
    SegmentStore store = open(MEBIBYTE);
    store.put("space", document(1), CONTENT, value(1, 5000));
    store.put("space", document(1), OTHER_CONTENT, value(2, 6000));
    for (int i = 0; i < 2; i++) {
      assertThat(store.find("space", document(1), CONTENT)).isNull();
      assertThat(bytes(store.find("space", document(1), OTHER_CONTENT))).isEqualTo(bytes(value(2, 6000)));
      assertThat(store.usage().documents()).isEqualTo(1);
      store = open(MEBIBYTE);
    }
  }

  @Test
  void aDeletedDocumentIsGoneAtOnceAndItsBytesSoon() throws IOException {
    SegmentStore store = open(8 * MEBIBYTE);
    for (int i = 0; i < 10; i++) {
      store.put("space", document(i), CONTENT, value(i, 10_000));
    }
    store.retain(document(3), CONTENT);
    assertThat(store.holds(document(3))).isTrue();
    store.retain(document(3), null);
    assertThat(store.holds(document(3))).isFalse();
    assertThat(store.find("space", document(3), CONTENT)).isNull();
    store.maintain();
    assertThat(onDisk(value(3, 10_000))).as("not yet reclaimed").isTrue();
    store = open(8 * MEBIBYTE, Duration.ZERO);
    assertThat(store.find("space", document(3), CONTENT)).as("dead after a reopening").isNull();
    store.maintain();
    assertThat(onDisk(value(3, 10_000))).isFalse();
    assertThat(onDisk(value(4, 10_000))).isTrue();
    assertHas(store, 4, 10);
    assertHas(open(8 * MEBIBYTE), 4, 10);
  }

  @Test
  void aFileThatIsHalfDeadIsReclaimedAtOnce() throws IOException {
    SegmentStore store = open(8 * MEBIBYTE);
    for (int i = 0; i < 10; i++) {
      store.put("space", document(i), CONTENT, value(i, 10_000));
    }
    long before = store.usage().bytes();
    for (int i = 0; i < 7; i++) {
      store.retain(document(i), null);
    }
    store.maintain();
    assertThat(store.usage().bytes()).isLessThan(before - 60_000);
    assertHas(store, 7, 10);
  }

  @Test
  void whatIsHandedOutOutlivesItsFile() throws IOException {
    SegmentStore store = open(8 * MEBIBYTE, Duration.ZERO);
    store.put("space", document(1), CONTENT, value(1, 50_000));
    MemorySegment held = Objects.requireNonNull(store.find("space", document(1), CONTENT));
    store.retain(document(1), null);
    store.maintain();
    assertThat(files()).isEmpty();
    assertThat(store.usage().unmapped()).isPositive();
    close();
    assertThat(bytes(held)).isEqualTo(bytes(value(1, 50_000)));
  }

  @Test
  void theMappingOfADeletedFileGoesWithItsLastReader() throws IOException {
    SegmentStore store = open(8 * MEBIBYTE, Duration.ZERO);
    store.put("space", document(1), CONTENT, value(1, 50_000));
    store.retain(document(1), null);
    store.maintain();
    Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(
            () -> {
              System.gc();
              return store.usage().unmapped() == 0
                  && !Files.readString(Path.of("/proc/self/maps")).contains(directory.toString());
            });
  }

  @Test
  void staysWithinItsLimitAndKeepsWhatIsUsed() throws IOException {
    long limit = 4 * MEBIBYTE;
    SegmentStore store = open(limit);
    int written = 400;
    for (int i = 0; i < written; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
      // Ten documents are asked for all the time.
      for (int hot = 0; hot < Math.min(10, i); hot++) {
        store.find("space", document(hot), CONTENT);
      }
      assertThat(store.usage().bytes()).isLessThanOrEqualTo(limit);
      if (i % 200 == 199) {
        assertThat(allocated()).isLessThanOrEqualTo(limit);
      }
    }
    assertHas(store, 0, 10);
    assertThat(store.contains("space", document(written - 1), CONTENT)).isTrue();
    assertThat(store.usage().evicted()).isBetween(250L, 330L);
    assertThat(store.usage().documents()).isEqualTo((int) (written - store.usage().evicted()));
    int newest = 0;
    for (int i = written - 40; i < written; i++) {
      newest += store.contains("space", document(i), CONTENT) ? 1 : 0;
    }
    assertThat(newest).as("of the newest 40").isEqualTo(40);
    SegmentStore again = open(limit);
    assertHas(again, 0, 10);
  }

  @Test
  void useIsRememberedOverAReopening() throws IOException {
    SegmentStore store = open(2 * MEBIBYTE);
    for (int i = 0; i < 40; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
    }
    for (int i = 0; i < 10; i++) {
      store.find("space", document(i), CONTENT);
    }
    store = open(2 * MEBIBYTE);
    for (int i = 40; i < 70; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
    }
    assertThat(store.usage().evicted()).isPositive();
    assertHas(store, 0, 10);
  }

  @Test
  void aLookIsNoUse() throws IOException {
    SegmentStore store = open(2 * MEBIBYTE);
    for (int i = 0; i < 40; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
    }
    // As above, where these stay.
    for (int i = 0; i < 10; i++) {
      assertThat(bytes(store.peek("space", document(i), CONTENT))).isEqualTo(bytes(value(i, 30_000)));
    }
    for (int i = 40; i < 70; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
    }
    assertThat(store.contains("space", document(0), CONTENT)).isFalse();
  }

  @Test
  void whatThereIsRoomForCostsNoRecord() throws IOException {
    SegmentStore store = open(2 * MEBIBYTE);
    store.use("space");
    int written = 0;
    while (store.hasRoom(5_000) && written < 1_000) {
      store.put("space", document(written++), CONTENT, value(written, 5_000));
    }
    assertThat(written).isBetween(300, 450);
    assertThat(store.usage().evicted()).isZero();
    assertThat(store.usage().documents()).isEqualTo(written);
    store.put("space", document(written), CONTENT, value(written, 5_000));
    assertThat(store.usage().evicted()).as("there was no more").isPositive();
  }

  @Test
  void spacesThatAreNotInUseGoFirst() throws IOException {
    SegmentStore store = open(2 * MEBIBYTE);
    for (int i = 0; i < 30; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
    }
    store.use("new");
    assertThat(store.hasRoom(1_500_000)).isTrue();
    for (int i = 0; i < 45; i++) {
      store.put("new", document(i), CONTENT, value(i, 30_000));
    }
    for (int i = 0; i < 45; i++) {
      assertThat(store.contains("new", document(i), CONTENT)).isTrue();
    }
    assertThat(store.usage().evicted()).isZero();
    assertThat(store.hasRoom(1_000_000)).isFalse();
  }

  @Test
  void aSmallerLimitIsKeptFromTheStart() throws IOException {
    SegmentStore store = open(4 * MEBIBYTE);
    for (int i = 0; i < 60; i++) {
      store.put("space", document(i), CONTENT, value(i, 30_000));
    }
    store = open(MEBIBYTE);
    assertThat(store.usage().bytes()).isLessThanOrEqualTo(MEBIBYTE);
    assertThat(store.contains("space", document(59), CONTENT)).isTrue();
  }

  @Test
  void aValueLargerThanAFileGetsOneOfItsOwn() throws IOException {
    SegmentStore store = open(MEBIBYTE);
    assertThat(store.put("space", document(1), CONTENT, value(1, 300_000))).isTrue();
    assertThat(store.put("space", document(2), CONTENT, value(2, 2_000_000))).as("than the store").isFalse();
    store = open(MEBIBYTE);
    assertThat(bytes(store.find("space", document(1), CONTENT))).isEqualTo(bytes(value(1, 300_000)));
  }

  @Test
  void aSweepDropsWhatWasNotKept() throws IOException {
    SegmentStore store = open(MEBIBYTE);
    for (int i = 0; i < 10; i++) {
      store.put("space", document(i), CONTENT, value(i, 1000));
    }
    store.beginSweep();
    for (int i = 5; i < 10; i++) {
      store.keep(document(i), i == 5 ? OTHER_CONTENT : CONTENT);
    }
    store.put("space", document(11), CONTENT, value(11, 1000));
    assertThat(store.sweep()).isEqualTo(6);
    assertThat(IntStream.range(0, 12).filter(i -> store.holds(document(i)))).containsExactly(6, 7, 8, 9, 11);
  }

  @Test
  void filesOfAnotherVersionAreReplaced() throws IOException {
    Files.write(directory.resolve("0000000000000007.kv"), new byte[10_000]);
    Files.writeString(directory.resolve("unrelated.txt"), "stays");
    SegmentStore store = open(MEBIBYTE);
    assertThat(store.usage().damaged()).isEqualTo(1);
    store.put("space", document(1), CONTENT, value(1, 1000));
    assertThat(files()).containsExactly("0000000000000008.kv");
    assertThat(directory.resolve("unrelated.txt")).exists();
  }

  @Test
  void aHundredThousandRecordsAreOpenedInSeconds() throws IOException {
    SegmentStore store = open(2_000 * MEBIBYTE);
    MemorySegment value = value(1, 100);
    for (int i = 0; i < 100_000; i++) {
      store.put("space", document(i), CONTENT, value);
    }
    close();
    long start = System.nanoTime();
    store = open(2_000 * MEBIBYTE);
    Duration took = Duration.ofNanos(System.nanoTime() - start);
    System.out.println("opened 100,000 records in " + took.toMillis() + " ms");
    assertThat(store.usage().documents()).isEqualTo(100_000);
    assertThat(took).isLessThan(Duration.ofSeconds(5));
  }

  private static void assertHas(SegmentStore store, int from, int to) {
    for (int i = from; i < to; i++) {
      MemorySegment found = store.find("space", document(i), CONTENT);
      assertThat(found).as("document %d", i).isNotNull();
      assertThat(bytes(found)).isEqualTo(bytes(value(i, (int) found.byteSize())));
    }
  }

  private static byte[] bytes(@Nullable MemorySegment segment) {
    return Objects.requireNonNull(segment).toArray(ValueLayout.JAVA_BYTE);
  }

  private List<String> files() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".kv")).sorted().toList();
    }
  }

  /** Blocks of the disk in use. */
  private long allocated() throws IOException {
    long sum = 0;
    for (String file : files()) {
      sum += TestValues.allocated(directory.resolve(file));
    }
    return sum;
  }

  private boolean onDisk(MemorySegment value) throws IOException {
    byte[] start = bytes(value.asSlice(0, 64));
    for (String file : files()) {
      byte[] all = Files.readAllBytes(directory.resolve(file));
      for (int at = 0; at + start.length <= all.length; at += 64) {
        if (Arrays.equals(all, at, at + start.length, start, 0, start.length)) {
          return true;
        }
      }
    }
    return false;
  }
}
