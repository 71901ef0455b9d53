package dev.attune.ranking;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.gguf.GgufFile;
import dev.attune.llm.gguf.GgufTensor;
import java.util.Arrays;
import java.util.function.IntFunction;

/**
 * The plainest Llama there is, in double precision: one sequence, one mask over all pairs of tokens, a position for
 * each token. Shares nothing with the backend but the reading of the file. Rotates neighbouring dimensions, as GGUF
 * stores query and key weights.
 */
final class DenseMaskOracle {

  private final GgufFile file;
  private final ModelConfig config;

  DenseMaskOracle(GgufFile file, ModelConfig config) {
    this.file = file;
    this.config = config;
  }

  /**
   * Attention of some tokens at a layer, over the tokens that are scored, mean of heads and rows.
   *
   * @param visible {@code [token][token]}
   * @param scored per token
   * @return {@code [token]}, 0 for a token that is not scored
   */
  double[] attention(int[] tokens, int[] positions, boolean[][] visible, int layer, int[] rows, boolean[] scored) {
    double[][] x = Arrays.stream(tokens).mapToObj(this::embedding).toArray(double[][]::new);
    for (int l = 0; l < layer; l++) {
      step(x, positions, visible, "blk." + l + ".");
    }
    String block = "blk." + layer + ".";
    double[][] normed = normalized(x, block + "attn_norm.weight");
    double[][] queries = rotated(multiply(normed, block + "attn_q.weight", width()), positions);
    double[][] keys = rotated(multiply(normed, block + "attn_k.weight", kvWidth()), positions);
    double[] mass = new double[tokens.length];
    for (int row : rows) {
      for (int head = 0; head < config.heads(); head++) {
        double[] weights = softmax(logits(queries[row], keys, head), scored);
        for (int i = 0; i < mass.length; i++) {
          mass[i] += weights[i] / (rows.length * config.heads());
        }
      }
    }
    return mass;
  }

  private void step(double[][] x, int[] positions, boolean[][] visible, String block) {
    double[][] normed = normalized(x, block + "attn_norm.weight");
    double[][] queries = rotated(multiply(normed, block + "attn_q.weight", width()), positions);
    double[][] keys = rotated(multiply(normed, block + "attn_k.weight", kvWidth()), positions);
    double[][] values = multiply(normed, block + "attn_v.weight", kvWidth());
    double[][] mixed = new double[x.length][width()];
    for (int t = 0; t < x.length; t++) {
      for (int head = 0; head < config.heads(); head++) {
        double[] weights = softmax(logits(queries[t], keys, head), visible[t]);
        int from = head / (config.heads() / config.kvHeads()) * config.headSize();
        for (int s = 0; s < x.length; s++) {
          for (int d = 0; d < config.headSize(); d++) {
            mixed[t][head * config.headSize() + d] += weights[s] * values[s][from + d];
          }
        }
      }
    }
    add(x, multiply(mixed, block + "attn_output.weight", config.hidden()));
    double[][] inner = normalized(x, block + "ffn_norm.weight");
    double[][] gate = multiply(inner, block + "ffn_gate.weight", config.feedForward());
    double[][] up = multiply(inner, block + "ffn_up.weight", config.feedForward());
    for (int t = 0; t < x.length; t++) {
      for (int i = 0; i < gate[t].length; i++) {
        gate[t][i] = gate[t][i] / (1 + Math.exp(-gate[t][i])) * up[t][i];
      }
    }
    add(x, multiply(gate, block + "ffn_down.weight", config.hidden()));
  }

  private double[] logits(double[] query, double[][] keys, int head) {
    int size = config.headSize();
    int kvHead = head / (config.heads() / config.kvHeads());
    double[] logits = new double[keys.length];
    for (int s = 0; s < keys.length; s++) {
      for (int d = 0; d < size; d++) {
        logits[s] += query[head * size + d] * keys[s][kvHead * size + d] / Math.sqrt(size);
      }
    }
    return logits;
  }

  private static double[] softmax(double[] logits, boolean[] allowed) {
    double[] weights = new double[logits.length];
    double sum = 0;
    for (int i = 0; i < logits.length; i++) {
      weights[i] = allowed[i] ? Math.exp(logits[i]) : 0;
      sum += weights[i];
    }
    for (int i = 0; i < logits.length; i++) {
      weights[i] /= sum;
    }
    return weights;
  }

  private double[][] rotated(double[][] x, int[] positions) {
    for (int t = 0; t < x.length; t++) {
      for (int i = 0; i < x[t].length; i += 2) {
        int inHead = i % config.headSize();
        double angle = positions[t] * Math.pow(config.ropeTheta(), -(double) inHead / config.headSize());
        double a = x[t][i];
        double b = x[t][i + 1];
        x[t][i] = a * Math.cos(angle) - b * Math.sin(angle);
        x[t][i + 1] = a * Math.sin(angle) + b * Math.cos(angle);
      }
    }
    return x;
  }

  private double[][] normalized(double[][] x, String name) {
    double[] weight = rows(name, 1, config.hidden()).apply(0);
    return Arrays.stream(x)
        .map(
            row -> {
              double scale = Math.sqrt(Arrays.stream(row).map(v -> v * v).sum() / row.length + config.normEpsilon());
              double[] result = new double[row.length];
              Arrays.setAll(result, i -> row[i] / scale * weight[i]);
              return result;
            })
        .toArray(double[][]::new);
  }

  private double[][] multiply(double[][] x, String name, int outputs) {
    IntFunction<double[]> weights = rows(name, outputs, x[0].length);
    double[][] result = new double[x.length][outputs];
    for (int o = 0; o < outputs; o++) {
      double[] weight = weights.apply(o);
      for (int t = 0; t < x.length; t++) {
        double sum = 0;
        for (int i = 0; i < weight.length; i++) {
          sum += x[t][i] * weight[i];
        }
        result[t][o] = sum;
      }
    }
    return result;
  }

  private static void add(double[][] x, double[][] y) {
    for (int t = 0; t < x.length; t++) {
      for (int i = 0; i < x[t].length; i++) {
        x[t][i] += y[t][i];
      }
    }
  }

  private double[] embedding(int token) {
    return rows("token_embd.weight", config.vocabulary(), config.hidden()).apply(token);
  }

  private IntFunction<double[]> rows(String name, int rows, int columns) {
    GgufTensor tensor = file.tensor(name, rows, columns);
    float[] row = new float[columns];
    return index -> {
      tensor.row(index, row, 0);
      double[] copy = new double[columns];
      Arrays.setAll(copy, i -> row[i]);
      return copy;
    };
  }

  private int width() {
    return config.heads() * config.headSize();
  }

  private int kvWidth() {
    return config.kvHeads() * config.headSize();
  }
}
