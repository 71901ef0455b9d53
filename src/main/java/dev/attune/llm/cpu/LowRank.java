package dev.attune.llm.cpu;

import dev.attune.llm.cpu.CpuAdapter.Group;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Adds an adapter's low-rank products to those of the base weights. Each number is accumulated in the same order
 * whatever the batch, as in {@link Gemm}.
 */
final class LowRank {

  private static final CpuAdapter.Layer NO_CHANGE = new CpuAdapter.Layer(null, null, null, null);

  private final @Nullable CpuAdapter adapter;
  private final WorkerPool pool;
  private final CpuBackend.Counters counters;
  private final Gemm.Scratch[] scratch;
  private float[] reduced = {};
  private int stride;

  LowRank(@Nullable CpuAdapter adapter, WorkerPool pool, CpuBackend.Counters counters) {
    this.adapter = adapter;
    this.pool = pool;
    this.counters = counters;
    this.scratch = new Gemm.Scratch[adapter == null ? 0 : pool.threads()];
    Arrays.setAll(scratch, worker -> new Gemm.Scratch());
  }

  CpuAdapter.Layer layer(int layer) {
    return adapter == null ? NO_CHANGE : adapter.layers.get(layer);
  }

  long bytes() {
    return adapter == null ? 0 : adapter.bytes();
  }

  /** Computes {@code A x} of some rows, which {@link #add} then reads. */
  void reduce(Group group, int rows, float[] in, int offset, int inStride) {
    stride = group.a().paddedOutputs();
    if (reduced.length < rows * stride) {
      reduced = new float[rows * stride];
    }
    counters.projection.add(2L * rows * group.a().outputs * group.a().inputs);
    int panels = group.a().panels();
    int blocks = (rows + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    Arrays.fill(reduced, 0, rows * stride, 0);
    pool.forEach(blocks * panels, (task, worker) -> {
      int row = task / panels * Gemm.ROW_BLOCK;
      int panel = task % panels;
      Gemm.panel(in, offset + row * inStride, inStride, Math.min(Gemm.ROW_BLOCK, rows - row), group.a(), panel, reduced,
          row * stride + panel * Gemm.PANEL, stride, scratch[worker]);
    });
  }

  /** {@code out += B (A x)} for all rows of the last {@link #reduce}. */
  void add(Group group, int projection, int rows, float[] out, int offset, int outStride) {
    PackedMatrix b = group.b().get(projection);
    if (b == null) {
      return;
    }
    int panels = b.panels();
    int blocks = (rows + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    pool.forEach(blocks * panels, (task, worker) -> {
      int row = task / panels * Gemm.ROW_BLOCK;
      int panel = task % panels;
      add(group, projection, row, Math.min(Gemm.ROW_BLOCK, rows - row), panel, out,
          offset + row * outStride + panel * Gemm.PANEL, outStride, worker);
    });
  }

  /** {@code out += B (A x)} for one panel of outputs and at most a block of rows; called inside a parallel loop. */
  void add(
      Group group, int projection, int row, int rows, int panel, float[] out, int offset, int outStride, int worker) {
    PackedMatrix b = group.b().get(projection);
    if (b == null) {
      return;
    }
    if (panel == 0) {
      counters.projection.add(2L * rows * b.outputs * b.inputs);
    }
    Gemm.panel(reduced, row * stride + group.offsets()[projection], stride, rows, b, panel, out, offset, outStride,
        scratch[worker]);
  }
}
