package dev.attune.llm.cpu;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import java.util.Arrays;
import java.util.List;

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
    firstPosition = first.firstPosition();
    tokens = KeptSlots.tokens(sources);
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
    int[] range = KeptSlots.range(source, from, to);
    return new SlotGather(source, from, to).gather((layer, kvHead, available) -> range);
  }

  CpuKvSegment gather(Retained retained) {
    int heads = first.layout.kvHeads();
    KeptSlots kept = KeptSlots.of(sources, heads, retained);
    CpuKvSegment result = allocate(kept, contentId(kept));
    for (int i = 0; i < kept.heads().size(); i++) {
      KeptSlots.Head head = kept.heads().get(i);
      if (head.size() > 0) {
        fill(result, i / heads, i % heads, head);
      }
    }
    return result;
  }

  private long contentId(KeptSlots kept) {
    ContentHash hash = new ContentHash(sources.size()).add(codec.ordinal());
    sources.forEach(source -> hash.add(source.contentId()));
    for (KeptSlots.Head head : kept.heads()) {
      Arrays.stream(head.slots()).forEach(hash::add);
      hash.add(head.compensated() ? -1 : -2);
    }
    return hash.value();
  }

  private CpuKvSegment allocate(KeptSlots kept, long contentId) {
    int common = kept.heads().isEmpty() ? tokens : kept.commonCount().orElse(KvLayout.RAGGED);
    KvLayout layout = new KvLayout(codec, first.layout.kvHeads(), headSize, tokens, first.layers(),
        first.valueLayers(), firstPosition, common);
    return common == KvLayout.RAGGED
        ? CpuKvSegment.allocate(layout, contentId, kept.heads())
        : CpuKvSegment.allocate(layout, contentId);
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

  private void fill(CpuKvSegment result, int layer, int head, KeptSlots.Head kept) {
    Head from = new Head(layer, head);
    float[] keys = new float[kept.size() * headSize];
    float[] values = new float[kept.size() * headSize];
    int at = 0;
    if (kept.compensated()) {
      double weight = compensate(from, kept.dropped(), keys, values);
      result.writeBias(layer, head, at++, (float) Math.log(weight));
    }
    int offset = at;
    for (int slot : kept.slots()) {
      System.arraycopy(from.keys, slot * headSize, keys, at * headSize, headSize);
      System.arraycopy(from.values, slot * headSize, values, at * headSize, headSize);
      if (at < kept.allBiased()) {
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
      for (int i = 0; result.quantised() && i < kept.slots().length; i++) {
        if (from.valueScales[kept.slots()[i]] > 0) {
          result.writeValueScale(layer, head, offset + i, from.valueScales[kept.slots()[i]]);
        }
      }
    }
  }

  /** Writes the mean of what is dropped, each slot weighted by the tokens it stands for, to the first row. */
  private double compensate(Head from, int[] dropped, float[] keys, float[] values) {
    double[] keySum = new double[headSize];
    double[] valueSum = new double[headSize];
    double total = 0;
    for (int slot : dropped) {
      double weight = Math.exp(from.biases[slot]);
      total += weight;
      for (int d = 0; d < headSize; d++) {
        keySum[d] += weight * from.keys[slot * headSize + d];
        valueSum[d] += weight * from.values[slot * headSize + d];
      }
    }
    for (int d = 0; d < headSize; d++) {
      keys[d] = (float) (keySum[d] / total);
      values[d] = (float) (valueSum[d] / total);
    }
    return total;
  }
}
