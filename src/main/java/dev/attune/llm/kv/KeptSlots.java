package dev.attune.llm.kv;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.KvSegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Which slots of segments that follow each other are kept as one segment, head by head.
 *
 * @param heads {@code [layer * kvHeads + head]}
 */
public record KeptSlots(List<Head> heads) {

  /** Everything. */
  public static final Retained ALL = (layer, kvHead, available) -> IntStream.range(0, available).toArray();

  private static final int[] NONE = {};

  /**
   * One KV head of one layer.
   *
   * @param slots kept, counted through the segments in order; those with a bias first, as a segment has them
   * @param biased how many have one
   * @param dropped those that one more slot stands for; empty when there is no such slot
   */
  public record Head(int[] slots, int biased, int[] dropped) {

    /** Slots of the result. */
    public int size() {
      return slots.length + (compensated() ? 1 : 0);
    }

    /** Slots of the result with a bias; the one that stands for others comes first. */
    public int allBiased() {
      return biased + (compensated() ? 1 : 0);
    }

    /** Whether one more slot, the first, stands for those that are dropped. */
    public boolean compensated() {
      return dropped.length > 0;
    }
  }

  /**
   * Asks for all heads.
   *
   * @param parts at least one; all with the same layers and {@code kvHeads} heads
   * @throws IllegalArgumentException when a slot is out of range or slots do not ascend
   */
  public static KeptSlots of(List<? extends KvSegment> parts, int kvHeads, Retained retained) {
    List<Head> heads = new ArrayList<>();
    for (int layer = 0; layer < parts.getFirst().layers(); layer++) {
      for (int head = 0; head < kvHeads; head++) {
        heads.add(head(parts, retained, layer, head));
      }
    }
    return new KeptSlots(heads);
  }

  private static Head head(List<? extends KvSegment> parts, Retained retained, int layer, int head) {
    int available = 0;
    boolean anyBiased = false;
    for (KvSegment part : parts) {
      available += part.slots(layer, head);
      anyBiased |= part.biased(layer, head) > 0;
    }
    int[] kept = retained.slots(layer, head, available);
    for (int i = 0; i < kept.length; i++) {
      if (kept[i] < (i == 0 ? 0 : kept[i - 1] + 1) || kept[i] >= available) {
        throw new IllegalArgumentException("Slots to keep of layer %d, KV head %d must ascend below %d, not %s"
            .formatted(layer, head, available, Arrays.toString(kept)));
      }
    }
    int[] dropped =
        kept.length < available && retained.compensated(layer, head) ? others(kept, available) : NONE;
    if (!anyBiased) {
      return new Head(kept, 0, dropped);
    }
    boolean[] biased = biased(parts, layer, head, available);
    int[] with = Arrays.stream(kept).filter(slot -> biased[slot]).toArray();
    int[] without = Arrays.stream(kept).filter(slot -> !biased[slot]).toArray();
    return new Head(IntStream.concat(Arrays.stream(with), Arrays.stream(without)).toArray(), with.length, dropped);
  }

  private static int[] others(int[] kept, int available) {
    boolean[] keeps = new boolean[available];
    Arrays.stream(kept).forEach(slot -> keeps[slot] = true);
    return IntStream.range(0, available).filter(slot -> !keeps[slot]).toArray();
  }

  private static boolean[] biased(List<? extends KvSegment> parts, int layer, int head, int available) {
    boolean[] biased = new boolean[available];
    int before = 0;
    for (KvSegment part : parts) {
      Arrays.fill(biased, before, before + part.biased(layer, head), true);
      before += part.slots(layer, head);
    }
    return biased;
  }

  /**
   * Tokens of segments that are to be one.
   *
   * @throws IllegalArgumentException when they do not follow each other or have different layers
   */
  public static int tokens(List<? extends KvSegment> parts) {
    KvSegment first = parts.getFirst();
    int tokens = 0;
    for (KvSegment part : parts) {
      if (part.firstPosition() != first.firstPosition() + tokens) {
        throw new IllegalArgumentException("Segments do not follow each other: position %d after %d"
            .formatted(part.firstPosition(), first.firstPosition() + tokens - 1));
      }
      if (part.layers() != first.layers() || part.valueLayers() != first.valueLayers()) {
        throw new IllegalArgumentException("Segments differ in layers: keys of %d, values of %d after %d and %d"
            .formatted(part.layers(), part.valueLayers(), first.layers(), first.valueLayers()));
      }
      tokens += part.tokens();
    }
    return tokens;
  }

  /**
   * Slots of consecutive tokens of a segment.
   *
   * @throws IllegalArgumentException when it has not a slot for each token, or the range is empty or out of range
   */
  public static int[] range(KvSegment segment, int from, int to) {
    if (segment.reduced() || from < 0 || from >= to || to > segment.tokens()) {
      throw new IllegalArgumentException("Tokens %d to %d cannot be cut out of %d%s"
          .formatted(from, to, segment.tokens(), segment.reduced() ? " that were reduced" : ""));
    }
    return IntStream.range(from, to).toArray();
  }

  /** What all heads keep when it is the same, at least one slot and without biases; else null. */
  public int @Nullable [] common() {
    int[] first = heads.isEmpty() ? NONE : heads.getFirst().slots;
    boolean same = heads.stream().allMatch(head -> head.allBiased() == 0 && Arrays.equals(head.slots, first));
    return same && first.length > 0 ? first : null;
  }

  /**
   * How many slots all heads keep when that is the same and without biases; empty when they differ or there are none.
   */
  public OptionalInt commonCount() {
    OptionalInt first = heads.stream().mapToInt(Head::size).findFirst();
    boolean same = heads.stream().allMatch(head -> head.allBiased() == 0 && head.size() == first.orElse(0));
    return same ? first : OptionalInt.empty();
  }
}
