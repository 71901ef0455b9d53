package dev.attune.llm.cpu;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.kv.KvCodec;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Makes one segment of chosen slots of several. Slots with a bias come first. Numbers that stay in their codec stay as
 * they are, except that int8 keys of several segments get common scales.
 */
final class SlotGather {

  private final List<CpuKvSegment> sources;
  private final KvCodec codec;
  private final CpuKvSegment first;
  private final int firstPosition;
  private final int tokens;
  private final int headSize;

  /**
   * Checks that the segments can be one.
   *
   * @throws IllegalArgumentException when they do not follow each other or have different layers
   */
  SlotGather(List<CpuKvSegment> sources, KvCodec codec) {
    this.sources = sources;
    this.codec = codec;
    this.first = sources.getFirst();
    this.headSize = first.layout.headSize();
    int sum = 0;
    for (CpuKvSegment source : sources) {
      if (source.firstPosition() != first.firstPosition() + sum) {
        throw new IllegalArgumentException("Segments do not follow each other: position %d after %d"
            .formatted(source.firstPosition(), first.firstPosition() + sum - 1));
      }
      if (source.layers() != first.layers() || source.valueLayers() != first.valueLayers()) {
        throw new IllegalArgumentException(
            "Segments differ in layers: " + source.layout + " and " + first.layout);
      }
      sum += source.tokens();
    }
    firstPosition = first.firstPosition();
    tokens = sum;
  }

  private SlotGather(CpuKvSegment source, int from, int to) {
    sources = List.of(source);
    codec = source.layout.codec();
    first = source;
    headSize = source.layout.headSize();
    firstPosition = source.firstPosition() + from;
    tokens = to - from;
  }

  /** Consecutive tokens of a segment that has a slot for each. */
  static CpuKvSegment slice(CpuKvSegment source, int from, int to) {
    if (source.reduced() || from < 0 || from >= to || to > source.tokens()) {
      throw new IllegalArgumentException("Tokens %d to %d cannot be cut out of %d%s"
          .formatted(from, to, source.tokens(), source.reduced() ? " that were reduced" : ""));
    }
    int[] range = IntStream.range(from, to).toArray();
    return new SlotGather(source, from, to).gather((layer, kvHead, available) -> range);
  }

  /** What becomes of one head. */
  private record HeadPlan(int[] slots, int biased, boolean compensated) {
    int size() {
      return slots.length + (compensated ? 1 : 0);
    }

    int allBiased() {
      return biased + (compensated ? 1 : 0);
    }
  }

  CpuKvSegment gather(Retained retained) {
    int layers = first.layers();
    int heads = first.layout.kvHeads();
    HeadPlan[][] plans = new HeadPlan[layers][heads];
    int[][] slots = new int[layers][heads];
    int[][] biased = new int[layers][heads];
    ContentHash hash = new ContentHash(sources.size()).add(codec.ordinal());
    sources.forEach(source -> hash.add(source.contentId()));
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < heads; head++) {
        HeadPlan plan = plan(layer, head, retained, hash);
        plans[layer][head] = plan;
        slots[layer][head] = plan.size();
        biased[layer][head] = plan.allBiased();
      }
    }
    CpuKvSegment result = allocate(slots, biased, hash.value());
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < heads; head++) {
        if (plans[layer][head].size() > 0) {
          fill(result, layer, head, plans[layer][head]);
        }
      }
    }
    return result;
  }

  private CpuKvSegment allocate(int[][] slots, int[][] biased, long contentId) {
    boolean uniform = Arrays.stream(slots).flatMapToInt(Arrays::stream).distinct().count() <= 1
        && Arrays.stream(biased).flatMapToInt(Arrays::stream).allMatch(n -> n == 0);
    int common = uniform && slots.length > 0 ? slots[0][0] : uniform ? tokens : KvLayout.RAGGED;
    KvLayout layout = new KvLayout(codec, first.layout.kvHeads(), headSize, tokens, first.layers(),
        first.valueLayers(), firstPosition, common);
    return uniform
        ? CpuKvSegment.allocate(layout, contentId)
        : CpuKvSegment.allocate(layout, contentId, slots, biased);
  }

  private HeadPlan plan(int layer, int head, Retained retained, ContentHash hash) {
    int available = sources.stream().mapToInt(source -> source.slots(layer, head)).sum();
    int[] kept = retained.slots(layer, head, available);
    for (int i = 0; i < kept.length; i++) {
      if (kept[i] < 0 || kept[i] >= available || i > 0 && kept[i] <= kept[i - 1]) {
        throw new IllegalArgumentException("Slots to keep of layer %d, KV head %d must ascend below %d, not %s"
            .formatted(layer, head, available, Arrays.toString(kept)));
      }
      hash.add(kept[i]);
    }
    boolean compensated = kept.length < available && retained.compensated(layer, head);
    hash.add(compensated ? -1 : -2);
    if (sources.stream().noneMatch(source -> source.biased(layer, head) > 0)) {
      return new HeadPlan(kept, 0, compensated);
    }
    // Biased slots first: the layout has biases for a head's first slots only.
    int[] order = new int[kept.length];
    int n = 0;
    for (int pass = 0; pass < 2; pass++) {
      for (int slot : kept) {
        if (hasBias(layer, head, slot) == (pass == 0)) {
          order[n++] = slot;
        }
      }
    }
    int biased = (int) Arrays.stream(kept).filter(slot -> hasBias(layer, head, slot)).count();
    return new HeadPlan(order, biased, compensated);
  }

  private boolean hasBias(int layer, int head, int slot) {
    int at = slot;
    for (CpuKvSegment source : sources) {
      if (at < source.slots(layer, head)) {
        return at < source.biased(layer, head);
      }
      at -= source.slots(layer, head);
    }
    throw new IllegalStateException("checked before");
  }

  /** The slots of a head of all sources, one after the other, as floats. */
  private final class Head {
    final int size;
    final float[] keys;
    final float[] values;
    /** Scale of a slot's values, 0 where they are not quantised. */
    final float[] valueScales;
    final float[] biases;

    Head(int layer, int head) {
      size = sources.stream().mapToInt(source -> source.slots(layer, head)).sum();
      keys = new float[size * headSize];
      values = new float[size * headSize];
      valueScales = new float[size];
      biases = new float[size];
      int at = 0;
      for (CpuKvSegment source : sources) {
        int count = source.slots(layer, head);
        read(source, layer, head, count, at);
        at += count;
      }
    }

    private void read(CpuKvSegment source, int layer, int head, int count, int at) {
      float[] rows = new float[count * headSize];
      float[] scales = new float[Math.max(count, headSize)];
      source.readKeys(layer, head, 0, rows, count);
      if (source.quantised()) {
        source.readKeyScales(layer, head, scales);
        for (int i = 0; i < rows.length; i++) {
          rows[i] *= scales[i % headSize];
        }
      }
      System.arraycopy(rows, 0, keys, at * headSize, rows.length);
      source.readBiases(layer, head, 0, scales, source.biased(layer, head));
      System.arraycopy(scales, 0, biases, at, source.biased(layer, head));
      if (layer < source.valueLayers()) {
        source.readValues(layer, head, 0, rows, count);
        if (source.quantised()) {
          source.readValueScales(layer, head, 0, scales, count);
          System.arraycopy(scales, 0, valueScales, at, count);
          for (int i = 0; i < rows.length; i++) {
            rows[i] *= scales[i / headSize];
          }
        }
        System.arraycopy(rows, 0, values, at * headSize, rows.length);
      }
    }
  }

  private void fill(CpuKvSegment result, int layer, int head, HeadPlan plan) {
    Head from = new Head(layer, head);
    float[] keys = new float[plan.size() * headSize];
    float[] values = new float[plan.size() * headSize];
    int at = 0;
    if (plan.compensated) {
      double weight = compensate(from, plan, keys, values);
      result.writeBias(layer, head, at++, (float) Math.log(weight));
    }
    int offset = at;
    for (int slot : plan.slots) {
      System.arraycopy(from.keys, slot * headSize, keys, at * headSize, headSize);
      System.arraycopy(from.values, slot * headSize, values, at * headSize, headSize);
      if (at < plan.allBiased()) {
        result.writeBias(layer, head, at, from.biases[slot]);
      }
      at++;
    }
    if (result.quantised() && sources.size() == 1 && first.quantised()) {
      float[] scales = new float[headSize];
      first.readKeyScales(layer, head, scales);
      result.writeKeys(layer, head, keys, 0, headSize, scales);
    } else {
      result.writeKeys(layer, head, keys, 0, headSize);
    }
    if (layer < result.valueLayers()) {
      result.writeValues(layer, head, values, 0, headSize);
      for (int i = 0; result.quantised() && i < plan.slots.length; i++) {
        if (from.valueScales[plan.slots[i]] > 0) {
          result.writeValueScale(layer, head, offset + i, from.valueScales[plan.slots[i]]);
        }
      }
    }
  }

  /** Writes the mean of what is dropped, each slot weighted by the tokens it stands for, to the first row. */
  private double compensate(Head from, HeadPlan plan, float[] keys, float[] values) {
    boolean[] kept = new boolean[from.size];
    for (int slot : plan.slots) {
      kept[slot] = true;
    }
    double[] keySum = new double[headSize];
    double[] valueSum = new double[headSize];
    double total = 0;
    for (int slot = 0; slot < from.size; slot++) {
      if (!kept[slot]) {
        double weight = Math.exp(from.biases[slot]);
        total += weight;
        for (int d = 0; d < headSize; d++) {
          keySum[d] += weight * from.keys[slot * headSize + d];
          valueSum[d] += weight * from.values[slot * headSize + d];
        }
      }
    }
    for (int d = 0; d < headSize; d++) {
      keys[d] = (float) (keySum[d] / total);
      values[d] = (float) (valueSum[d] / total);
    }
    return total;
  }
}
