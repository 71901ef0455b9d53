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
import java.time.InstantSource;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import net.jqwik.api.constraints.Size;
import net.jqwik.api.lifecycle.BeforeContainer;
import org.springframework.util.FileSystemUtils;

/** Whatever happens to the bytes of a segment file, what is served is what was written, and the store goes on. */
class DamagedSegmentTest {

  private static final int DOCUMENTS = 8;
  private static final long LIMIT = 4 << 20;

  /** The one file of a store, as it was left. */
  private static byte[] whole = {};

  @BeforeContainer
  static void write() throws IOException {
    Path directory = Files.createTempDirectory("segments");
    try (SegmentStore store =
        SegmentStore.open(directory, LIMIT, Duration.ofHours(1), InstantSource.system())) {
      for (int i = 0; i < DOCUMENTS; i++) {
        store.put("space", document(i), CONTENT, value(i, length(i)));
      }
      store.retain(document(2), null);
      store.maintain();
    }
    try (Stream<Path> files = Files.list(directory)) {
      Path file = files.toList().getFirst();
      assertThat(file).hasFileName("0000000000000000.kv");
      whole = Files.readAllBytes(file);
    }
    FileSystemUtils.deleteRecursively(directory);
  }

  private static int length(int document) {
    return 1500 + 777 * document;
  }

  private static SegmentStore open(Path directory) throws IOException {
    SegmentStore store = SegmentStore.open(directory, LIMIT, Duration.ZERO, InstantSource.system());
    store.use("space");
    return store;
  }

  @Property(tries = 60)
  void cutOffAnywhere(@ForAll @LongRange(min = 0, max = 65_536) long length) throws IOException {
    byte[] cut = Arrays.copyOf(whole, (int) length);
    int served = check(cut);
    // The values before the cut are still there; all of them end long before the file does.
    if (length < SegmentFormat.HEADER) {
      assertThat(served).isZero();
    } else if (length > 50_000) {
      assertThat(served).isEqualTo(DOCUMENTS - 1);
    }
  }

  /** Around every boundary of the format. */
  @Property(tries = 60)
  void cutOffAtABoundary(@ForAll @IntRange(min = 0, max = 18) int boundary, @ForAll @IntRange(min = -1, max = 1) int by)
      throws IOException {
    long values = SegmentFormat.HEADER + 64L * SegmentFormat.ENTRY;
    long at = boundary == 0 ? 1
        : boundary == 1 ? 16
        : boundary == 2 ? SegmentFormat.HEADER
        : boundary < 11 ? SegmentFormat.HEADER + (boundary - 2L) * SegmentFormat.ENTRY
        : values;
    for (int i = 0; i <= boundary - 11; i++) {
      at += i == boundary - 11 ? length(i) : SegmentFormat.aligned(length(i));
    }
    check(Arrays.copyOf(whole, (int) at + by));
  }

  @Property(tries = 300)
  void flippedBits(@ForAll @Size(min = 1, max = 5) List<@IntRange(max = 340_000) Integer> bits) throws IOException {
    byte[] flipped = whole.clone();
    for (int bit : bits) {
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
    }
    check(flipped);
  }

  /** Bits of the entries that are there, and of the first empty one. */
  @Property(tries = 300)
  void flippedBitsOfTheDirectory(@ForAll @Size(min = 1, max = 3) List<@IntRange(max = 4_607) Integer> bits)
      throws IOException {
    flippedBits(bits.stream().map(bit -> bit + SegmentFormat.HEADER * 8).toList());
  }

  /** Blocks that a power cut left unwritten. */
  @Property(tries = 60)
  void blocksOfZeros(@ForAll @Size(min = 1, max = 3) List<@IntRange(max = 15) Integer> blocks) throws IOException {
    byte[] zeroed = whole.clone();
    for (int block : blocks) {
      Arrays.fill(zeroed, block * 4096, (block + 1) * 4096, (byte) 0);
    }
    check(zeroed);
  }

  /** Opens the bytes, asks for everything, writes what is missing and asks again; how many were served at first. */
  private static int check(byte[] bytes) throws IOException {
    Path directory = Files.createTempDirectory("segments");
    try {
      Files.write(directory.resolve("0000000000000000.kv"), bytes);
      int served = 0;
      try (SegmentStore store = open(directory)) {
        served = serve(store);
        assertThat(store.usage().documents()).isEqualTo(served);
        for (int i = 0; i < DOCUMENTS; i++) {
          if (!store.contains("space", document(i), CONTENT)) {
            store.put("space", document(i), CONTENT, value(i, length(i)));
          }
        }
        store.maintain();
        assertThat(serve(store)).isEqualTo(DOCUMENTS);
      }
      try (SegmentStore store = open(directory)) {
        assertThat(serve(store)).isEqualTo(DOCUMENTS);
        assertThat(store.usage().damaged()).as("damage is gone").isZero();
      }
      return served;
    } finally {
      FileSystemUtils.deleteRecursively(directory);
    }
  }

  private static int serve(SegmentStore store) {
    int served = 0;
    for (int i = 0; i < DOCUMENTS; i++) {
      MemorySegment found = store.find("space", document(i), CONTENT);
      if (found != null) {
        served++;
        assertThat(Objects.requireNonNull(found).toArray(ValueLayout.JAVA_BYTE))
            .isEqualTo(value(i, length(i)).toArray(ValueLayout.JAVA_BYTE));
      }
    }
    return served;
  }
}
