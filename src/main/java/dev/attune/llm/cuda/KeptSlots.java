package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend.Retained;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Which slots of segments that follow each other are kept, head by head.
 *
 * @param heads {@code [layer * kvHeads + head]}
 */
record KeptSlots(List<Head> heads) {

  /** Everything. */
  static final Retained ALL = (layer, kvHead, available) -> IntStream.range(0, available).toArray();

  private static final int[] NONE = {};

  /**
   * One KV head of one layer.
   *
   * @param slots kept, counted through the segments in order; those with a bias first
   * @param biased how many have one
   * @param dropped those that one more slot stands for; empty when there is no such slot
   */
  record Head(int[] slots, int biased, int[] dropped) {

    /** Slots of the result. */
    int size() {
      return slots.length + (dropped.length > 0 ? 1 : 0);
    }

    /** Slots of the result with a bias; the one that stands for others comes first. */
    int allBiased() {
      return biased + (dropped.length > 0 ? 1 : 0);
    }
  }

  /**
   * Asks for all heads.
   *
   * @throws IllegalArgumentException when a slot is out of range or slots do not ascend
   */
  static KeptSlots of(List<CudaKvSegment> parts, Retained retained) {
    CudaKvSegment.Shape shape = parts.getFirst().shape;
    List<Head> heads = new ArrayList<>();
    for (int layer = 0; layer < shape.layers(); layer++) {
      for (int head = 0; head < shape.kvHeads(); head++) {
        heads.add(head(parts, retained, layer, head));
      }
    }
    return new KeptSlots(heads);
  }

  private static Head head(List<CudaKvSegment> parts, Retained retained, int layer, int head) {
    int available = 0;
    boolean anyBiased = false;
    for (CudaKvSegment part : parts) {
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

  private static boolean[] biased(List<CudaKvSegment> parts, int layer, int head, int available) {
    boolean[] biased = new boolean[available];
    int before = 0;
    for (CudaKvSegment part : parts) {
      Arrays.fill(biased, before, before + part.biased(layer, head), true);
      before += part.slots(layer, head);
    }
    return biased;
  }

  /** What all heads keep when it is the same, at least one slot and without biases; else null. */
  int @Nullable [] common() {
    int[] first = heads.isEmpty() ? NONE : heads.getFirst().slots;
    return heads.stream().allMatch(head -> head.allBiased() == 0 && Arrays.equals(head.slots, first)) && first.length > 0
        ? first : null;
  }

  /** How many slots all heads keep when that is the same, at least one and without biases; else {@link CudaKvSegment.Shape#RAGGED}. */
  int commonCount() {
    int first = heads.isEmpty() ? 0 : heads.getFirst().slots.length;
    return heads.stream().allMatch(head -> head.allBiased() == 0 && head.slots.length == first) && first > 0
        ? first : CudaKvSegment.Shape.RAGGED;
  }
}
