package dev.attune.llm.cpu;

import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Attention of a few panels of query rows of one KV head over context segments, which all rows see, and a tail, of
 * which each row sees the tokens up to its own. Not thread-safe: one per worker, it is scratch memory.
 *
 * <p>Query rows are vector lanes and tokens are the loop, so that keys and values are read in the order in which they
 * are stored, no sum runs across lanes, and a row's numbers do not depend on the rows beside it. Quantised numbers
 * become floats block by block, once for all panels; their scales go into the queries (keys: a scale per channel) and
 * into the weights (values: a scale per token), so no product of number and scale is ever formed.
 */
final class BlockAttention {

  /** Tokens of a block: its numbers, logits and the queries of a panel stay in the first-level cache. */
  static final int BLOCK = 24;

  /** Panels that share the conversion of a block to floats; with more, their state leaves the first-level cache. */
  static final int PANELS = 2;

  /** Keys and values of the tail in fp32. */
  interface Tail {
    /** Writes keys {@code [count][headSize]} from token {@code from} on. */
    void keys(int from, int count, float[] rows);

    void values(int from, int count, float[] rows);
  }

  private static final float[] ONES = new float[BLOCK];

  static {
    Arrays.fill(ONES, 1);
  }

  final QueryPanel[] panels = new QueryPanel[PANELS];
  /** Keys, then values, of a block. */
  private final float[] rows;

  private final float[] channelScales;
  private final float[] tokenScales = new float[BLOCK];
  private final float[] biases = new float[BLOCK];

  BlockAttention(int headSize) {
    rows = new float[BLOCK * headSize];
    channelScales = new float[headSize];
    for (int i = 0; i < PANELS; i++) {
      panels[i] = new QueryPanel(headSize);
    }
  }

  /**
   * Computes the outputs of the first {@code count} panels, whose queries are loaded.
   *
   * @param context in the order in which it is summed
   */
  void attend(int layer, int head, List<CpuKvSegment> context, Tail tail, int count) {
    for (CpuKvSegment segment : context) {
      attend(layer, head, segment, count);
    }
    int tailTokens = panels[count - 1].tailTokens();
    for (int from = 0; from < tailTokens; from += BLOCK) {
      int n = Math.min(BLOCK, tailTokens - from);
      tail.keys(from, n, rows);
      for (int i = 0; i < count; i++) {
        int seen = Math.min(n, panels[i].tailTokens() - from);
        if (seen > 0) {
          panels[i].logits(rows, seen, false);
          panels[i].mask(from, seen);
          panels[i].softmax(seen, ONES);
        }
      }
      tail.values(from, n, rows);
      for (int i = 0; i < count; i++) {
        int seen = Math.min(n, panels[i].tailTokens() - from);
        if (seen > 0) {
          panels[i].values(rows, seen);
        }
      }
    }
    for (int i = 0; i < count; i++) {
      panels[i].finish();
    }
  }

  private void attend(int layer, int head, CpuKvSegment segment, int count) {
    int slots = segment.slots(layer, head);
    boolean quantised = prepare(layer, head, segment, slots, count);
    for (int from = 0; from < slots; from += BLOCK) {
      int n = Math.min(BLOCK, slots - from);
      if (quantised) {
        segment.readValueScales(layer, head, from, tokenScales, n);
      }
      logits(layer, head, segment, from, n, quantised, count);
      for (int i = 0; i < count; i++) {
        panels[i].softmax(n, quantised ? tokenScales : ONES);
      }
      segment.readValues(layer, head, from, rows, n);
      for (int i = 0; i < count; i++) {
        panels[i].values(rows, n);
      }
    }
  }

  /** Takes the logits of one slot, in units of log 2, of all lanes of a panel. */
  @FunctionalInterface
  interface Slots {
    /**
     * @param at of the first lane's in {@code logits}
     */
    void take(int slot, float[] logits, int at);
  }

  /**
   * Leaves in the first panel, for each lane, the maximum of the logits over a segment and the sum of weights.
   *
   * @param each shown every slot, or null
   */
  void measure(int layer, int head, CpuKvSegment segment, @Nullable Slots each) {
    int slots = segment.slots(layer, head);
    boolean quantised = prepare(layer, head, segment, slots, 1);
    for (int from = 0; from < slots; from += BLOCK) {
      int n = Math.min(BLOCK, slots - from);
      logits(layer, head, segment, from, n, quantised, 1);
      for (int i = 0; i < n && each != null; i++) {
        each.take(from + i, panels[0].weights, i * Lanes.PANEL);
      }
      panels[0].softmax(n, ONES);
    }
  }

  /** Scales the queries if the keys are quantised, which it returns. */
  private boolean prepare(int layer, int head, CpuKvSegment segment, int slots, int count) {
    boolean quantised = segment.quantised();
    if (quantised && slots > 0) {
      segment.readKeyScales(layer, head, channelScales);
      for (int i = 0; i < count; i++) {
        panels[i].scaleBy(channelScales);
      }
    }
    return quantised;
  }

  private void logits(int layer, int head, CpuKvSegment segment, int from, int n, boolean quantised, int count) {
    segment.readKeys(layer, head, from, rows, n);
    int biased = Math.min(n, segment.biased(layer, head) - from);
    if (biased > 0) {
      segment.readBiases(layer, head, from, biases, biased);
    }
    for (int i = 0; i < count; i++) {
      panels[i].logits(rows, n, quantised);
      if (biased > 0) {
        panels[i].bias(biases, biased);
      }
    }
  }
}
