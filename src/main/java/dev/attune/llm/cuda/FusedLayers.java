package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * All layers of a last block as one kernel whose blocks stay and meet between phases, for models whose layers take less time
 * than starting kernels; see {@code layers.cu}.
 */
final class FusedLayers {

  /** Shared memory for the sums of a product's warps, and for aligning. */
  static final int PRODUCT_BYTES = 20 << 10;

  static final String PROPERTY = "attune.cuda.fused-layers";

  private static final int THREADS = 512;
  private static final int LAYER_BYTES = 32;

  private final CudaDevice device;
  private final Kernels kernels;
  private final CudaWeights weights;
  /** Addresses of the layers' matrices. */
  private final long table;
  /** Two counters. */
  private final long met;

  FusedLayers(CudaDevice device, Kernels kernels, CudaWeights weights) {
    this.device = device;
    this.kernels = kernels;
    this.weights = weights;
    met = device.allocate(8, "counters of blocks");
    device.fill(met, 0, 8);
    int count = weights.layers().size();
    table = device.allocate((long) LAYER_BYTES * count, "addresses of weights");
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment addresses = scratch.allocate((long) LAYER_BYTES * count, 8);
      for (int i = 0; i < count; i++) {
        CudaWeights.Layer layer = weights.layers().get(i);
        long[] matrices = {layer.qkv(), layer.attentionOutput(), layer.gateUp(), layer.down()};
        MemorySegment.copy(matrices, 0, addresses, ValueLayout.JAVA_LONG, (long) i * LAYER_BYTES, matrices.length);
      }
      device.upload(table, addresses);
      device.synchronize("Copying addresses of weights");
    }
  }

  /**
   * Whether the system property {@value #PROPERTY} is {@code true}. Off otherwise: the kernel has not run since its last
   * correction, and a mistake in how blocks meet would hang the GPU.
   */
  static boolean wanted() {
    return Boolean.getBoolean(PROPERTY);
  }

  /** Whether a block's warps hold their share of each matrix of a model in registers, and its heads are 64 wide. */
  static boolean fits(ModelConfig config) {
    int attention = config.heads() * config.headSize();
    return config.headSize() == 64 && config.hidden() <= 1024 && attention <= 1024 && config.feedForward() <= 2560
        && config.hidden() % 32 == 0 && config.feedForward() % 32 == 0;
  }

  /**
   * Where the kernel works.
   *
   * @param x residual, rounded, {@code [tokens][hidden]}
   * @param residual in fp32
   * @param inner {@code [tokens][feedForward]}
   */
  record Activations(long x, long residual, long inner) {}

  /** Runs {@code layers} layers over {@code x} and {@code residual}, which hold the embedded tokens. */
  void run(
      BatchPlan plan, AttentionLauncher.Launch attention, int tokens, int layers, boolean merging, Activations at) {
    try (Arena scratch = Arena.ofConfined()) {
      Struct arguments = attention.arguments(new Struct(scratch, 192), 0).put(0).put(table).put(plan.counts + 4)
          .put(plan.positions).put(plan.places).put(weights.rope()).put(at.x).put(at.residual).put(at.inner).put(met)
          .put(layers).put(tokens).put((float) weights.config().normEpsilon()).put(merging ? 1 : 0);
      kernels.layers(SkinnyProducts.tokenTiles(tokens), plan.quantised())
          .launchTogether(device.multiprocessors, THREADS, arguments.memory());
    }
  }
}
