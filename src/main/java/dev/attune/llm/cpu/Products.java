package dev.attune.llm.cpu;

import java.util.Arrays;

/** Products of rows with packed matrices, and other work on rows, shared out among the threads. */
final class Products {

  /** Loops over fewer rows than this are not worth sharing out. */
  private static final int SERIAL_ROWS = 16;

  private final WorkerPool pool;
  private final Gemm.Scratch[] scratch;
  private final CpuBackend.Counters counters;

  /**
   * A pool's products.
   *
   * @param scratch one per worker
   */
  Products(WorkerPool pool, Gemm.Scratch[] scratch, CpuBackend.Counters counters) {
    this.pool = pool;
    this.scratch = scratch;
    this.counters = counters;
  }

  /** Runs {@code body} for so many rows. */
  void forRows(int count, WorkerPool.Task body) {
    int chunk = Math.max(SERIAL_ROWS, count / (4 * pool.threads()));
    pool.forEach((count + chunk - 1) / chunk, (task, worker) -> {
      for (int row = task * chunk; row < Math.min(count, (task + 1) * chunk); row++) {
        body.run(row, worker);
      }
    });
  }

  /** {@code out (+)= in . matrices}, the outputs of the matrices side by side. */
  void multiply(
      int count, float[] in, int inOffset, int inStride, float[] out, int outOffset, int outStride, boolean add,
      PackedMatrix... matrices) {
    int panels = 0;
    for (PackedMatrix matrix : matrices) {
      panels += matrix.panels();
      counters.projection.add(2L * count * matrix.outputs * matrix.inputs);
    }
    sumGroups(count, in, inOffset, inStride, matrices);
    int total = panels;
    int blocks = (count + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    pool.forEach(blocks * total, (task, worker) -> {
      int row = task / total * Gemm.ROW_BLOCK;
      int panel = task % total;
      int target = outOffset + row * outStride + panel * Gemm.PANEL;
      int matrix = 0;
      while (panel >= matrices[matrix].panels()) {
        panel -= matrices[matrix++].panels();
      }
      int n = Math.min(Gemm.ROW_BLOCK, count - row);
      if (!add) {
        clear(out, target, outStride, n);
      }
      Gemm.panel(in, inOffset + row * inStride, inStride, n, matrices[matrix], panel, out, target, outStride,
          scratch[worker]);
    });
  }

  /** What products with minima need beside their inputs. */
  void sumGroups(int count, float[] in, int offset, int stride, PackedMatrix... matrices) {
    if (Arrays.stream(matrices).anyMatch(matrix -> matrix.hasMinima)) {
      forRows(count, (row, worker) -> Gemm.sumGroups(in, offset + row * stride, matrices[0].inputs));
    }
  }

  /** Zeroes one panel of outputs of some rows. */
  static void clear(float[] out, int offset, int stride, int rows) {
    for (int row = 0; row < rows; row++) {
      Arrays.fill(out, offset + row * stride, offset + row * stride + Gemm.PANEL, 0);
    }
  }
}
