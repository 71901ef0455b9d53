package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.PANEL;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import java.util.Arrays;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * Attention of one panel of query rows of one KV head over context segments, which all rows see, and a tail, of which
 * each row sees the tokens up to its own. Not thread-safe: one per worker, it is scratch memory.
 *
 * <p>Query rows are vector lanes and tokens are the loop, so that keys and values are read in the order in which they
 * are stored, no sum runs across lanes, and a row's numbers do not depend on the rows beside it. The softmax is online
 * over blocks of {@link #BLOCK} tokens (Milakov and Gimelshein, arXiv 1805.02867).
 */
final class BlockAttention {

  /** Tokens of a block: keys, values, logits and queries of a block together stay in the first-level cache. */
  static final int BLOCK = 32;
  /** Tokens, or head dimensions, that a micro-kernel computes at once. */
  static final int TILE = 4;

  /** Keys and values of the tail in fp32. */
  interface Tail {
    /** Writes rows {@code [count][headSize]} of keys and values from token {@code from} on. */
    void read(int from, int count, float[] keys, float[] values);
  }

  private final int headSize;
  /** {@code [headSize][PANEL]}, scaled by 1 / sqrt(headSize). */
  final float[] queries;
  /** For each lane, the last tail token that it sees. */
  final float[] last = new float[PANEL];
  /** {@code [headSize][PANEL]}: the result. */
  final float[] output;
  private final float[] keys;
  private final float[] values;
  /** {@code [BLOCK][PANEL]}. */
  private final float[] weights = new float[BLOCK * PANEL];
  /** Running maximum of logits and sum of weights per lane. */
  final float[] maximum = new float[PANEL];
  final float[] sum = new float[PANEL];

  BlockAttention(int headSize) {
    this.headSize = headSize;
    queries = new float[headSize * PANEL];
    output = new float[headSize * PANEL];
    keys = new float[BLOCK * headSize];
    values = new float[BLOCK * headSize];
  }

  /**
   * Computes {@link #output} from {@link #queries} and {@link #last}.
   *
   * @param context in the order in which it is summed
   * @param tailTokens tokens of the tail that the panel's last row sees
   */
  void attend(int layer, int head, List<CpuKvSegment> context, Tail tail, int tailTokens) {
    Arrays.fill(output, 0);
    Arrays.fill(sum, 0);
    Arrays.fill(maximum, Float.NEGATIVE_INFINITY);
    for (CpuKvSegment segment : context) {
      for (int from = 0; from < segment.tokens(); from += BLOCK) {
        int count = Math.min(BLOCK, segment.tokens() - from);
        segment.getKeys(layer, head, from, keys, count);
        segment.getValues(layer, head, from, values, count);
        logits(count);
        accumulate(count);
      }
    }
    for (int from = 0; from < tailTokens; from += BLOCK) {
      int count = Math.min(BLOCK, tailTokens - from);
      tail.read(from, count, keys, values);
      logits(count);
      mask(from, count);
      accumulate(count);
    }
    for (int lane = 0; lane < PANEL; lane += WIDTH) {
      FloatVector total = FloatVector.fromArray(FLOATS, sum, lane);
      for (int d = 0; d < headSize; d++) {
        FloatVector.fromArray(FLOATS, output, d * PANEL + lane).div(total).intoArray(output, d * PANEL + lane);
      }
    }
  }

  /** Leaves, for each lane, the maximum of the logits over a segment and the sum of e^(logit - maximum). */
  void measure(int layer, int head, CpuKvSegment segment) {
    Arrays.fill(sum, 0);
    Arrays.fill(maximum, Float.NEGATIVE_INFINITY);
    for (int from = 0; from < segment.tokens(); from += BLOCK) {
      int count = Math.min(BLOCK, segment.tokens() - from);
      segment.getKeys(layer, head, from, keys, count);
      logits(count);
      for (int lane = 0; lane < PANEL; lane += WIDTH) {
        softmax(lane, count);
      }
    }
  }

  /** {@code weights[token][lane] = keys[token] . queries[lane]}; rows past {@code count} in a tile are not used. */
  private void logits(int count) {
    for (int token = 0; token < count; token += TILE) {
      int k0 = token * headSize;
      int k1 = k0 + headSize;
      int k2 = k1 + headSize;
      int k3 = k2 + headSize;
      FloatVector s00 = FloatVector.zero(FLOATS);
      FloatVector s01 = s00;
      FloatVector s10 = s00;
      FloatVector s11 = s00;
      FloatVector s20 = s00;
      FloatVector s21 = s00;
      FloatVector s30 = s00;
      FloatVector s31 = s00;
      for (int d = 0; d < headSize; d++) {
        FloatVector q0 = FloatVector.fromArray(FLOATS, queries, d * PANEL);
        FloatVector q1 = FloatVector.fromArray(FLOATS, queries, d * PANEL + WIDTH);
        FloatVector k = FloatVector.broadcast(FLOATS, keys[k0 + d]);
        s00 = k.fma(q0, s00);
        s01 = k.fma(q1, s01);
        k = FloatVector.broadcast(FLOATS, keys[k1 + d]);
        s10 = k.fma(q0, s10);
        s11 = k.fma(q1, s11);
        k = FloatVector.broadcast(FLOATS, keys[k2 + d]);
        s20 = k.fma(q0, s20);
        s21 = k.fma(q1, s21);
        k = FloatVector.broadcast(FLOATS, keys[k3 + d]);
        s30 = k.fma(q0, s30);
        s31 = k.fma(q1, s31);
      }
      int at = token * PANEL;
      s00.intoArray(weights, at);
      s01.intoArray(weights, at + WIDTH);
      s10.intoArray(weights, at + PANEL);
      s11.intoArray(weights, at + PANEL + WIDTH);
      s20.intoArray(weights, at + 2 * PANEL);
      s21.intoArray(weights, at + 2 * PANEL + WIDTH);
      s30.intoArray(weights, at + 3 * PANEL);
      s31.intoArray(weights, at + 3 * PANEL + WIDTH);
    }
  }

  /** Hides the tail tokens that come after a lane's own. */
  private void mask(int from, int count) {
    for (int lane = 0; lane < PANEL; lane += WIDTH) {
      FloatVector limit = FloatVector.fromArray(FLOATS, last, lane);
      for (int token = 0; token < count; token++) {
        VectorMask<Float> hidden = limit.lt(from + token);
        int at = token * PANEL + lane;
        FloatVector.fromArray(FLOATS, weights, at).blend(Float.NEGATIVE_INFINITY, hidden).intoArray(weights, at);
      }
    }
  }

  /** Takes a block with logits in {@link #weights} into the result. */
  private void accumulate(int count) {
    for (int lane = 0; lane < PANEL; lane += WIDTH) {
      FloatVector rescale = softmax(lane, count);
      // Multiplying by 1 would change nothing.
      if (!rescale.eq(1f).allTrue()) {
        for (int d = 0; d < headSize; d++) {
          int at = d * PANEL + lane;
          FloatVector.fromArray(FLOATS, output, at).mul(rescale).intoArray(output, at);
        }
      }
    }
    for (int d = 0; d < headSize; d += TILE) {
      addValues(d, count);
    }
  }

  /**
   * Turns the logits of a block into weights relative to the new maximum and updates maximum and sum.
   *
   * @return what earlier sums must be multiplied with
   */
  private FloatVector softmax(int lane, int count) {
    FloatVector before = FloatVector.fromArray(FLOATS, maximum, lane);
    FloatVector max = before;
    for (int token = 0; token < count; token++) {
      max = max.max(FloatVector.fromArray(FLOATS, weights, token * PANEL + lane));
    }
    FloatVector rescale = Lanes.exp(before.sub(max));
    FloatVector total = FloatVector.fromArray(FLOATS, sum, lane).mul(rescale);
    for (int token = 0; token < count; token++) {
      int at = token * PANEL + lane;
      FloatVector weight = Lanes.exp(FloatVector.fromArray(FLOATS, weights, at).sub(max));
      weight.intoArray(weights, at);
      total = total.add(weight);
    }
    max.intoArray(maximum, lane);
    total.intoArray(sum, lane);
    return rescale;
  }

  /** {@code output[d..d+3][lane] += sum over tokens of values[token][d..d+3] * weights[token][lane]}. */
  private void addValues(int d, int count) {
    int at = d * PANEL;
    FloatVector s00 = FloatVector.fromArray(FLOATS, output, at);
    FloatVector s01 = FloatVector.fromArray(FLOATS, output, at + WIDTH);
    FloatVector s10 = FloatVector.fromArray(FLOATS, output, at + PANEL);
    FloatVector s11 = FloatVector.fromArray(FLOATS, output, at + PANEL + WIDTH);
    FloatVector s20 = FloatVector.fromArray(FLOATS, output, at + 2 * PANEL);
    FloatVector s21 = FloatVector.fromArray(FLOATS, output, at + 2 * PANEL + WIDTH);
    FloatVector s30 = FloatVector.fromArray(FLOATS, output, at + 3 * PANEL);
    FloatVector s31 = FloatVector.fromArray(FLOATS, output, at + 3 * PANEL + WIDTH);
    int v = d;
    for (int token = 0; token < count; token++) {
      FloatVector w0 = FloatVector.fromArray(FLOATS, weights, token * PANEL);
      FloatVector w1 = FloatVector.fromArray(FLOATS, weights, token * PANEL + WIDTH);
      FloatVector x = FloatVector.broadcast(FLOATS, values[v]);
      s00 = x.fma(w0, s00);
      s01 = x.fma(w1, s01);
      x = FloatVector.broadcast(FLOATS, values[v + 1]);
      s10 = x.fma(w0, s10);
      s11 = x.fma(w1, s11);
      x = FloatVector.broadcast(FLOATS, values[v + 2]);
      s20 = x.fma(w0, s20);
      s21 = x.fma(w1, s21);
      x = FloatVector.broadcast(FLOATS, values[v + 3]);
      s30 = x.fma(w0, s30);
      s31 = x.fma(w1, s31);
      v += headSize;
    }
    s00.intoArray(output, at);
    s01.intoArray(output, at + WIDTH);
    s10.intoArray(output, at + PANEL);
    s11.intoArray(output, at + PANEL + WIDTH);
    s20.intoArray(output, at + 2 * PANEL);
    s21.intoArray(output, at + 2 * PANEL + WIDTH);
    s30.intoArray(output, at + 3 * PANEL);
    s31.intoArray(output, at + 3 * PANEL + WIDTH);
  }
}
