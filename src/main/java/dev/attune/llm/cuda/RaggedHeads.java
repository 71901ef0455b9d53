package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Slots of a segment whose KV heads differ, and where they lie: the segment begins with a directory that kernels read
 * ({@code Block} of {@code ragged.cuh}), then come for each layer the keys of all heads and, if it is a value layer,
 * their values.
 */
final class RaggedHeads {

  private static final int ENTRY_BYTES = 24;

  private final int kvHeads;
  /** {@code [layer * kvHeads + head]}, like the following. */
  private final int[] slots;
  /** How many of the first slots have a bias. */
  private final int[] biased;
  /** Offsets from the start of the segment. */
  private final long[] keys;
  private final long[] values;
  private final long bytes;
  private final long directory;
  private final int longest;

  /**
   * Lays out a segment.
   *
   * @param slots of each head, {@code [layer * kvHeads + head]} for all layers with keys
   * @param biased how many of them, the first ones, have a bias
   */
  RaggedHeads(KvCodec codec, int kvHeads, int headSize, int valueLayers, int[] slots, int[] biased) {
    this.kvHeads = kvHeads;
    this.slots = slots.clone();
    this.biased = biased.clone();
    keys = new long[slots.length];
    values = new long[slots.length];
    longest = Arrays.stream(slots).max().orElse(0);
    directory = ((long) ENTRY_BYTES * slots.length + 15) & ~15L;
    long at = directory;
    boolean int8 = codec == KvCodec.INT8;
    for (int first = 0; first < slots.length; first += kvHeads) {
      for (int i = first; i < first + kvHeads; i++) {
        keys[i] = at;
        at += 4L * wholeGroups(biased[i]) + (int8 ? 4L * headSize : 0) + (long) slots[i] * headSize * codec.bytes();
      }
      for (int i = first; i < first + kvHeads; i++) {
        values[i] = at;
        if (first / kvHeads < valueLayers) {
          at += (int8 ? 4L * wholeGroups(slots[i]) : 0) + (long) slots[i] * headSize * codec.bytes();
        }
      }
    }
    bytes = at;
  }

  private static int wholeGroups(int numbers) {
    return (numbers + 3) & ~3;
  }

  int slots(int layer, int head) {
    return slots[layer * kvHeads + head];
  }

  int biased(int layer, int head) {
    return biased[layer * kvHeads + head];
  }

  /** Slots per head, rounded up. */
  int meanSlots() {
    long sum = Arrays.stream(slots).asLongStream().sum();
    return Math.toIntExact((sum + slots.length - 1) / Math.max(1, slots.length));
  }

  /** Most slots of a head. */
  int longest() {
    return longest;
  }

  /** Bytes of the segment, the directory included. */
  long bytes() {
    return bytes;
  }

  long directoryBytes() {
    return directory;
  }

  /** Bytes of keys and values of a layer, scales and biases included. */
  long bytesOf(int layer) {
    int next = (layer + 1) * kvHeads;
    return (next < keys.length ? keys[next] : bytes) - keys[layer * kvHeads];
  }

  /** The same of the keys alone. */
  long keyBytesOf(int layer) {
    return values[layer * kvHeads] - keys[layer * kvHeads];
  }

  /** Writes the directory. */
  void write(MemorySegment to) {
    for (int i = 0; i < slots.length; i++) {
      long at = (long) ENTRY_BYTES * i;
      to.set(JAVA_LONG_UNALIGNED, at, keys[i]);
      to.set(JAVA_LONG_UNALIGNED, at + 8, values[i]);
      to.set(JAVA_INT_UNALIGNED, at + 16, slots[i]);
      to.set(JAVA_INT_UNALIGNED, at + 20, biased[i]);
    }
  }

  /** What a directory says of {@code count} heads, or null when it contradicts itself or is cut off. */
  static @Nullable RaggedHeads read(
      MemorySegment from, KvCodec codec, int kvHeads, int headSize, int tokens, int count, int valueLayers) {
    if (from.byteSize() < (long) ENTRY_BYTES * count) {
      return null;
    }
    int[] slots = new int[count];
    int[] biased = new int[count];
    for (int i = 0; i < count; i++) {
      slots[i] = from.get(JAVA_INT_UNALIGNED, (long) ENTRY_BYTES * i + 16);
      biased[i] = from.get(JAVA_INT_UNALIGNED, (long) ENTRY_BYTES * i + 20);
      if (slots[i] < 0 || slots[i] > tokens + 1 || biased[i] < 0 || biased[i] > slots[i]) {
        return null;
      }
    }
    RaggedHeads heads = new RaggedHeads(codec, kvHeads, headSize, valueLayers, slots, biased);
    for (int i = 0; i < count; i++) {
      if (from.get(JAVA_LONG_UNALIGNED, (long) ENTRY_BYTES * i) != heads.keys[i]
          || from.get(JAVA_LONG_UNALIGNED, (long) ENTRY_BYTES * i + 8) != heads.values[i]) {
        return null;
      }
    }
    return heads;
  }

  /** The same slots in another codec. */
  RaggedHeads in(KvCodec codec, int headSize, int valueLayers) {
    return new RaggedHeads(codec, kvHeads, headSize, valueLayers, slots, biased);
  }

  @Override
  public String toString() {
    return "%d slots on average, at most %d".formatted(meanSlots(), longest());
  }
}
