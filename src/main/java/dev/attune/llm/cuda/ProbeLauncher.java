package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.KernelModule.Kernel;
import java.util.HashMap;
import java.util.Map;

/** Launches the measuring of attention masses; see {@code probe.cu}. */
final class ProbeLauncher {

  private static final int THREADS = 128;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final long perRow;
  /** By number of rows: queries lie in shared memory. */
  private final Map<Integer, Kernel> measures = new HashMap<>();
  private long maxima;
  private long sums;
  private long masses;
  private int stride;

  ProbeLauncher(CudaDevice device, ModelConfig config, Kernels kernels) {
    this.device = device;
    this.config = config;
    this.kernels = kernels;
    perRow = device.allocate(8L * config.heads() * kernels.maxProbeRows(), "a probe");
    reserve(1024);
  }

  /** Makes room for so many scored segments; returns whether addresses changed. */
  boolean reserve(int segments) {
    if (segments <= stride) {
      return false;
    }
    device.free(maxima);
    device.free(sums);
    device.free(masses);
    stride = Math.max(segments, 2 * stride);
    long cells = (long) config.heads() * kernels.maxProbeRows() * stride;
    maxima = device.allocate(4 * cells, "a probe of %d segments".formatted(segments));
    sums = device.allocate(4 * cells, "a probe of %d segments".formatted(segments));
    masses = device.allocate(4L * stride * FusedLayers.MOST, "a probe of %d segments".formatted(segments));
    return true;
  }

  /**
   * Measures the spans of one of a plan's probes.
   *
   * @param queries {@code [rows][heads * headSize]}
   */
  void run(BatchPlan plan, int index, int layer, int rows, long queries) {
    BatchPlan.Probed probed = plan.probed(index);
    float scale = (float) (1 / Math.sqrt(config.headSize()) / Math.log(2));
    Kernel measure = measures.computeIfAbsent(
        rows, n -> kernels.probeMeasure.sharing(4 * n * config.heads() / config.kvHeads() * config.headSize()));
    int blocks = 6 * device.multiprocessors / config.kvHeads() * config.kvHeads();
    measure.launchEarly(blocks, 1, THREADS, queries, probed.spans(), probed.count(),
        maxima, sums, stride, layer, config.heads(), config.kvHeads(), rows, scale);
    kernels.probeMasses.launchEarly(1, 1, 1024, maxima, sums, probed.count(), stride, config.heads() * rows, perRow,
        masses(index));
  }

  /** Masses of the last run of a probe, one per span. */
  long masses(int index) {
    return masses + 4L * stride * index;
  }
}
