package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.PANEL;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * A panel of query rows of one KV head, and its online softmax (Milakov and Gimelshein, arXiv 1805.02867). Logits and
 * maxima are in units of log 2, so that weights are powers of two of differences.
 */
final class QueryPanel {

  private static final double LOG2_E = 1.4426950408889634;

  private final int headSize;
  /** {@code [headSize][PANEL]}, scaled by log2(e) / sqrt(headSize). */
  private final float[] queries;
  /** Queries times the scales of quantised keys. */
  private final float[] scaled;
  /** For each lane, the last tail token that it sees. */
  private final float[] last = new float[PANEL];
  /** {@code [headSize][PANEL]}: the result. */
  final float[] output;
  /** {@code [BLOCK][PANEL]}: logits, then weights. */
  final float[] weights = new float[BlockAttention.BLOCK * PANEL];
  /** Running maximum of logits, in log2 units, and sum of weights per lane. */
  final float[] maximum = new float[PANEL];

  final float[] sum = new float[PANEL];
  private boolean oneVector;
  private int tailTokens;

  QueryPanel(int headSize) {
    this.headSize = headSize;
    queries = new float[headSize * PANEL];
    scaled = new float[headSize * PANEL];
    output = new float[headSize * PANEL];
  }

  /** Begins with {@code rows} rows, to be given by {@link #load}. */
  void begin(int rows) {
    oneVector = rows <= WIDTH;
    tailTokens = 0;
    Arrays.fill(queries, 0);
    Arrays.fill(output, 0);
    Arrays.fill(sum, 0);
    Arrays.fill(maximum, Float.NEGATIVE_INFINITY);
  }

  /** Sets the query of a lane and the last tail token that it sees, which never falls from lane to lane. */
  void load(int lane, float[] from, int at, int lastToken) {
    float scale = (float) (LOG2_E / Math.sqrt(headSize));
    for (int d = 0; d < headSize; d++) {
      queries[d * PANEL + lane] = from[at + d] * scale;
    }
    Arrays.fill(last, lane, PANEL, lastToken);
    tailTokens = lastToken + 1;
  }

  /** Tokens of the tail that the last row sees. */
  int tailTokens() {
    return tailTokens;
  }

  /** Prepares for keys whose channels were divided by {@code scales}. */
  void scaleBy(float[] scales) {
    for (int d = 0; d < headSize; d++) {
      for (int lane = d * PANEL; lane < (d + 1) * PANEL; lane += WIDTH) {
        FloatVector.fromArray(FLOATS, queries, lane).mul(scales[d]).intoArray(scaled, lane);
      }
    }
  }

  /** Logits of a block of keys. */
  void logits(float[] keys, int count, boolean withScales) {
    AttentionTiles.logits(withScales ? scaled : queries, keys, weights, count, headSize, oneVector);
  }

  /** Adds to the logits of the first tokens of a block; {@code biases} in natural units. */
  void bias(float[] biases, int count) {
    for (int token = 0; token < count; token++) {
      float bias = (float) (biases[token] * LOG2_E);
      for (int lane = token * PANEL; lane < (token + 1) * PANEL; lane += WIDTH) {
        FloatVector.fromArray(FLOATS, weights, lane).add(bias).intoArray(weights, lane);
      }
    }
  }

  /** Hides the tail tokens that come after a lane's own. */
  void mask(int from, int count) {
    for (int lane = 0; lane < PANEL; lane += WIDTH) {
      FloatVector limit = FloatVector.fromArray(FLOATS, last, lane);
      for (int token = 0; token < count; token++) {
        VectorMask<Float> hidden = limit.lt(from + token);
        int at = token * PANEL + lane;
        FloatVector.fromArray(FLOATS, weights, at).blend(Float.NEGATIVE_INFINITY, hidden).intoArray(weights, at);
      }
    }
  }

  /**
   * Turns the logits of a block into weights and brings what was summed before into their unit.
   *
   * @param scales what the values of each token were divided by, in quantised segments; weights are multiplied with it
   */
  void softmax(int count, float[] scales) {
    for (int lane = 0; lane < width(); lane += WIDTH) {
      FloatVector rescale = softmax(lane, count, scales);
      // Multiplying by 1 would change nothing.
      if (!rescale.eq(1f).allTrue()) {
        for (int d = 0; d < headSize; d++) {
          int at = d * PANEL + lane;
          FloatVector.fromArray(FLOATS, output, at).mul(rescale).intoArray(output, at);
        }
      }
    }
  }

  private int width() {
    return oneVector ? WIDTH : PANEL;
  }

  /** Weights relative to the new maximum; returns what earlier sums must be multiplied with. */
  private FloatVector softmax(int lane, int count, float[] scales) {
    FloatVector before = FloatVector.fromArray(FLOATS, maximum, lane);
    FloatVector max = before;
    for (int token = 0; token < count; token++) {
      max = max.max(FloatVector.fromArray(FLOATS, weights, token * PANEL + lane));
    }
    FloatVector rescale = Lanes.exp2(before.sub(max));
    FloatVector total = FloatVector.fromArray(FLOATS, sum, lane).mul(rescale);
    for (int token = 0; token < count; token++) {
      int at = token * PANEL + lane;
      FloatVector weight = Lanes.exp2(FloatVector.fromArray(FLOATS, weights, at).sub(max));
      weight.mul(scales[token]).intoArray(weights, at);
      total = total.add(weight);
    }
    max.intoArray(maximum, lane);
    total.intoArray(sum, lane);
    return rescale;
  }

  /** Adds the values of a block. */
  void values(float[] values, int count) {
    AttentionTiles.values(output, values, weights, count, headSize, oneVector);
  }

  /** Divides by the sum of weights: {@link #output} is complete. */
  void finish() {
    for (int lane = 0; lane < width(); lane += WIDTH) {
      FloatVector total = FloatVector.fromArray(FLOATS, sum, lane);
      for (int d = 0; d < headSize; d++) {
        FloatVector.fromArray(FLOATS, output, d * PANEL + lane).div(total).intoArray(output, d * PANEL + lane);
      }
    }
  }
}
