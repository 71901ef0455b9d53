package dev.attune.llm.cpu;

import dev.attune.llm.AttentionVisitor;
import dev.attune.llm.ModelConfig;
import java.util.Arrays;

/** Whole attention distributions of single rows of a causal sequence, from the rotated queries and keys of a layer. */
final class AttentionRows {

  private final ModelConfig config;
  private final int[] rows;
  private final AttentionVisitor visitor;
  private final float[] queries;
  private final float[] keys;
  private final float[] logits;
  /** {@code [PANEL][tokens]}. */
  private float[][] probabilities = {};

  AttentionRows(ModelConfig config, int[] rows, AttentionVisitor visitor) {
    this.config = config;
    this.rows = Arrays.stream(rows).sorted().toArray();
    this.visitor = visitor;
    this.queries = new float[config.headSize() * Lanes.PANEL];
    this.keys = new float[BlockAttention.BLOCK * config.headSize()];
    this.logits = new float[BlockAttention.BLOCK * Lanes.PANEL];
  }

  void show(int layer, Workspace w) {
    int group = config.heads() / config.kvHeads();
    int longest = rows.length == 0 ? 0 : rows[rows.length - 1] + 1;
    if (probabilities.length == 0) {
      probabilities = new float[Lanes.PANEL][longest];
    }
    for (int head = 0; head < config.heads(); head++) {
      for (int first = 0; first < rows.length; first += Lanes.PANEL) {
        int count = Math.min(Lanes.PANEL, rows.length - first);
        logits(w, head, w.queryStride + head / group * config.headSize(), first, count);
        for (int lane = 0; lane < count; lane++) {
          softmax(probabilities[lane], rows[first + lane] + 1);
          visitor.attention(layer, head, rows[first + lane], probabilities[lane]);
        }
      }
    }
  }

  private void logits(Workspace w, int head, int keyColumn, int first, int count) {
    int size = config.headSize();
    Arrays.fill(queries, 0);
    for (int lane = 0; lane < count; lane++) {
      int at = rows[first + lane] * w.qkvStride + head * size;
      for (int d = 0; d < size; d++) {
        queries[d * Lanes.PANEL + lane] = (float) (w.qkv[at + d] / Math.sqrt(size));
      }
    }
    int visible = rows[first + count - 1] + 1;
    for (int from = 0; from < visible; from += BlockAttention.BLOCK) {
      int n = Math.min(BlockAttention.BLOCK, visible - from);
      for (int i = 0; i < n; i++) {
        System.arraycopy(w.qkv, (from + i) * w.qkvStride + keyColumn, keys, i * size, size);
      }
      AttentionTiles.logits(queries, keys, logits, n, size, false);
      for (int lane = 0; lane < count; lane++) {
        for (int i = 0; i < n; i++) {
          probabilities[lane][from + i] = logits[i * Lanes.PANEL + lane];
        }
      }
    }
  }

  private static void softmax(float[] x, int count) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      max = Math.max(max, x[i]);
    }
    double sum = 0;
    for (int i = 0; i < count; i++) {
      x[i] = (float) Math.exp(x[i] - max);
      sum += x[i];
    }
    for (int i = 0; i < count; i++) {
      x[i] /= (float) sum;
    }
  }
}
