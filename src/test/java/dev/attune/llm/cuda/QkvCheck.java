package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;

/** What becomes of queries, keys and values once they are rotated and kept. */
final class QkvCheck {

  private QkvCheck() {}

  /**
   * Queries in the order of rows, keys and values in that of {@link Gpu#places}.
   *
   * @param qkv not yet rotated; rotated here
   * @param segment where the layer's keys and values lie behind those of the layers before
   */
  static void check(
      Gpu gpu, ModelConfig config, double[] qkv, int[] positions, int rows, int layer, long q, long segment) {
    check(gpu, gpu.tolerance(), config, qkv, positions, rows, layer, q, segment);
  }

  /** As above, with a bound of errors. */
  static void check(
      Gpu gpu, double tolerance, ModelConfig config, double[] qkv, int[] positions, int rows, int layer, long q,
      long segment) {
    int d = config.headSize();
    int heads = config.heads();
    int kvHeads = config.kvHeads();
    int width = (heads + 2 * kvHeads) * d;
    double[] queries = new double[rows * heads * d];
    double[] kept = new double[2 * kvHeads * rows * d];
    for (int i = 0; i < rows; i++) {
      for (int h = 0; h < heads + 2 * kvHeads; h++) {
        if (h < heads + kvHeads) {
          Reference.rotate(qkv, i * width + h * d, d, positions[i], TestShapes.THETA);
        }
        double[] to = h < heads ? queries : kept;
        int at = h < heads ? (i * heads + h) * d : ((h - heads) * rows + rows - 1 - i) * d;
        System.arraycopy(qkv, i * width + h * d, to, at, d);
      }
    }
    assertThat(Gpu.error(gpu.readNumbers(q, queries.length), queries)).as("queries").isLessThan(tolerance);
    long block = segment + 2L * 2 * layer * kvHeads * rows * d;
    assertThat(Gpu.error(gpu.readNumbers(block, kept.length), kept)).as("keys and values").isLessThan(tolerance);
  }
}
