package dev.attune.llm;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A Llama transformer written as plainly as possible: double precision, all tokens of all blocks at once, a dense mask,
 * and rotations of the neighbouring dimensions (2i, 2i + 1) on the weights as they are in the file.
 */
final class DenseOracle {

  /**
   * A block of tokens; each of its tokens sees all tokens of the blocks in {@code sees}, and its own block causally.
   */
  record Block(int[] tokens, int firstPosition, List<Integer> sees) {}

  /** What the last block sees of the first one, head by head. */
  interface Reduction {
    boolean keeps(int layer, int kvHead, int token);

    /** Whether the mean of the rest stands for it, with the logarithm of its number as bias. */
    boolean compensated(int layer, int kvHead);
  }

  private final TinyGguf file;
  private final ModelConfig config;
  private final List<Block> blocks;
  private final @Nullable Reduction reduction;
  private final int[] blockOf;
  private final int[] token;
  private final int[] position;
  /** {@code [token][token]}. */
  private final boolean[][] mask;

  DenseOracle(TinyGguf file, ModelConfig config, List<Block> blocks) {
    this(file, config, blocks, null);
  }

  DenseOracle(TinyGguf file, ModelConfig config, List<Block> blocks, @Nullable Reduction reduction) {
    this.reduction = reduction;
    this.file = file;
    this.config = config;
    this.blocks = blocks;
    int n = blocks.stream().mapToInt(block -> block.tokens.length).sum();
    blockOf = new int[n];
    token = new int[n];
    position = new int[n];
    int at = 0;
    for (int b = 0; b < blocks.size(); b++) {
      for (int i = 0; i < blocks.get(b).tokens.length; i++, at++) {
        blockOf[at] = b;
        token[at] = blocks.get(b).tokens[i];
        position[at] = blocks.get(b).firstPosition + i;
      }
    }
    mask = new boolean[n][n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        mask[i][j] = blockOf[i] == blockOf[j] ? j <= i : blocks.get(blockOf[i]).sees.contains(blockOf[j]);
      }
    }
  }

  /** Logits of the tokens of the last block. */
  double[][] logits() {
    double[][] x = hidden(config.layers());
    String output = file.weights.containsKey("output.weight") ? "output.weight" : "token_embd.weight";
    double[][] normed = norm(x, "output_norm.weight");
    double[][] logits = multiply(normed, output, config.vocabulary());
    return Arrays.copyOfRange(logits, firstOfLast(), logits.length);
  }

  /**
   * Attention masses of blocks: rows of the last block, softmax over the tokens of the scored blocks; mean over heads.
   */
  double[] masses(int layer, int[] rows, List<Integer> scored) {
    double[] masses = new double[scored.size()];
    int[] blocksOf = Arrays.stream(blockOf).filter(scored::contains).toArray();
    for (double[] head : massesBySlot(layer, rows, scored)) {
      for (int i = 0; i < head.length; i++) {
        masses[scored.indexOf(blocksOf[i])] += head[i] / config.heads();
      }
    }
    return masses;
  }

  /** The same for each head and token of the scored blocks, {@code [head][token]}. */
  double[][] massesBySlot(int layer, int[] rows, List<Integer> scored) {
    double[][] normed = norm(hidden(layer), "blk." + layer + ".attn_norm.weight");
    double[][] q = rotate(multiply(normed, "blk." + layer + ".attn_q.weight", config.heads() * config.headSize()));
    double[][] k = rotate(multiply(normed, "blk." + layer + ".attn_k.weight", config.kvHeads() * config.headSize()));
    double[][] masses = new double[config.heads()][(int) Arrays.stream(blockOf).filter(scored::contains).count()];
    for (int row : rows) {
      for (int head = 0; head < config.heads(); head++) {
        double[] logits = new double[token.length];
        Arrays.fill(logits, Double.NEGATIVE_INFINITY);
        for (int j = 0; j < token.length; j++) {
          if (scored.contains(blockOf[j])) {
            logits[j] = logit(q[firstOfLast() + row], k[j], head);
          }
        }
        double[] p = softmax(logits);
        int slot = 0;
        for (int j = 0; j < token.length; j++) {
          if (scored.contains(blockOf[j])) {
            masses[head][slot++] += p[j] / rows.length;
          }
        }
      }
    }
    return masses;
  }

  private int firstOfLast() {
    return token.length - blocks.getLast().tokens.length;
  }

  private double[][] hidden(int layers) {
    List<double[]> rows = new ArrayList<>();
    float[] embedding = file.weights.get("token_embd.weight");
    for (int id : token) {
      double[] row = new double[config.hidden()];
      for (int i = 0; i < row.length; i++) {
        row[i] = embedding[id * row.length + i];
      }
      rows.add(row);
    }
    double[][] x = rows.toArray(double[][]::new);
    for (int layer = 0; layer < layers; layer++) {
      String block = "blk." + layer + ".";
      double[][] normed = norm(x, block + "attn_norm.weight");
      double[][] q = rotate(multiply(normed, block + "attn_q.weight", config.heads() * config.headSize()));
      double[][] k = rotate(multiply(normed, block + "attn_k.weight", config.kvHeads() * config.headSize()));
      double[][] v = multiply(normed, block + "attn_v.weight", config.kvHeads() * config.headSize());
      add(x, multiply(attend(layer, q, k, v), block + "attn_output.weight", config.hidden()));
      normed = norm(x, block + "ffn_norm.weight");
      double[][] gate = multiply(normed, block + "ffn_gate.weight", config.feedForward());
      double[][] up = multiply(normed, block + "ffn_up.weight", config.feedForward());
      for (int i = 0; i < gate.length; i++) {
        for (int j = 0; j < gate[i].length; j++) {
          gate[i][j] = gate[i][j] / (1 + Math.exp(-gate[i][j])) * up[i][j];
        }
      }
      add(x, multiply(gate, block + "ffn_down.weight", config.hidden()));
    }
    return x;
  }

  private double[][] attend(int layer, double[][] q, double[][] k, double[][] v) {
    int n = token.length;
    double[][] out = new double[n][config.heads() * config.headSize()];
    for (int i = 0; i < n; i++) {
      for (int head = 0; head < config.heads(); head++) {
        List<double[]> keys = new ArrayList<>(Arrays.asList(k));
        List<double[]> values = new ArrayList<>(Arrays.asList(v));
        double[] logits = new double[n + 1];
        double[] meanKey = new double[k[0].length];
        double[] meanValue = new double[v[0].length];
        int dropped = 0;
        for (int j = 0; j < n; j++) {
          boolean lost = mask[i][j] && reduction != null && blockOf[i] == blocks.size() - 1 && blockOf[j] == 0
              && !reduction.keeps(layer, kvHead(head), j);
          logits[j] = mask[i][j] && !lost ? logit(q[i], k[j], head) : Double.NEGATIVE_INFINITY;
          if (lost) {
            dropped++;
            for (int d = 0; d < meanKey.length; d++) {
              meanKey[d] += k[j][d];
              meanValue[d] += v[j][d];
            }
          }
        }
        int count = dropped;
        keys.add(Arrays.stream(meanKey).map(x -> x / Math.max(1, count)).toArray());
        values.add(Arrays.stream(meanValue).map(x -> x / Math.max(1, count)).toArray());
        logits[n] = dropped > 0 && reduction != null && reduction.compensated(layer, kvHead(head))
            ? logit(q[i], keys.getLast(), head) + Math.log(dropped)
            : Double.NEGATIVE_INFINITY;
        double[] p = softmax(logits);
        for (int j = 0; j <= n; j++) {
          for (int d = 0; d < config.headSize(); d++) {
            out[i][head * config.headSize() + d] += p[j] * values.get(j)[kvHead(head) * config.headSize() + d];
          }
        }
      }
    }
    return out;
  }

  private int kvHead(int head) {
    return head / (config.heads() / config.kvHeads());
  }

  private double logit(double[] q, double[] k, int head) {
    double sum = 0;
    for (int d = 0; d < config.headSize(); d++) {
      sum += q[head * config.headSize() + d] * k[kvHead(head) * config.headSize() + d];
    }
    return sum / Math.sqrt(config.headSize());
  }

  private double[][] rotate(double[][] x) {
    for (int i = 0; i < x.length; i++) {
      for (int d = 0; d < x[i].length; d += 2) {
        double angle =
            position[i] * Math.pow(config.ropeTheta(), -(double) (d % config.headSize()) / config.headSize());
        double a = x[i][d];
        double b = x[i][d + 1];
        x[i][d] = a * Math.cos(angle) - b * Math.sin(angle);
        x[i][d + 1] = a * Math.sin(angle) + b * Math.cos(angle);
      }
    }
    return x;
  }

  private double[][] norm(double[][] x, String name) {
    float[] weight = file.weights.get(name);
    double[][] out = new double[x.length][];
    for (int i = 0; i < x.length; i++) {
      double mean = Arrays.stream(x[i]).map(value -> value * value).average().orElseThrow();
      double scale = 1 / Math.sqrt(mean + config.normEpsilon());
      out[i] = new double[x[i].length];
      for (int j = 0; j < x[i].length; j++) {
        out[i][j] = x[i][j] * scale * weight[j];
      }
    }
    return out;
  }

  private double[][] multiply(double[][] x, String name, int outputs) {
    float[] weight = file.weights.get(name);
    double[][] out = new double[x.length][outputs];
    for (int i = 0; i < x.length; i++) {
      for (int o = 0; o < outputs; o++) {
        for (int j = 0; j < x[i].length; j++) {
          out[i][o] += x[i][j] * weight[o * x[i].length + j];
        }
      }
    }
    return out;
  }

  private static void add(double[][] x, double[][] y) {
    for (int i = 0; i < x.length; i++) {
      for (int j = 0; j < x[i].length; j++) {
        x[i][j] += y[i][j];
      }
    }
  }

  private static double[] softmax(double[] logits) {
    double max = Arrays.stream(logits).max().orElseThrow();
    double[] p = Arrays.stream(logits).map(logit -> Math.exp(logit - max)).toArray();
    double sum = Arrays.stream(p).sum();
    return Arrays.stream(p).map(value -> value / sum).toArray();
  }
}
