package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * All layers of a last block as one kernel whose blocks stay and meet between phases, for models whose layers take less
 * time than starting kernels; see {@code layers.cu}.
 */
final class FusedLayers {

  /** Shared memory of a block, with what aligning takes: {@code ROOM} of {@code layers.cu}. */
  static final int SHARED_BYTES = 224 << 10;

  /** Last blocks that go through the layers together. */
  static final int MOST = 8;

  private static final int THREADS = 512;
  private static final int LAYER_BYTES = 32;
  private static final int SETS = 3;
  /** What a byte holds that has not been written. */
  private static final int UNWRITTEN = 0xff;

  private final CudaDevice device;
  private final Kernels kernels;
  private final CudaWeights weights;
  /** Addresses of the layers' matrices. */
  private final long table;
  /** Counters, {@code Met} of {@code layers.cu}. */
  private final long met;
  /** What phases leave for each other, a {@code Set} of {@code layers.cu} for each of three layers. */
  private final long sets;
  /** Of one last block in one layer. */
  private final long setBytes;

  FusedLayers(CudaDevice device, Kernels kernels, CudaWeights weights) {
    this.device = device;
    this.kernels = kernels;
    this.weights = weights;
    met = device.allocate(8 + 4 * MOST, "counters of blocks");
    device.fill(met, 0, 8 + 4 * MOST);
    ModelConfig config = weights.config();
    setBytes = 2L * SkinnyProducts.MAX_TOKENS
        * (2 * config.heads() * config.headSize() + 2 * config.hidden() + config.feedForward());
    sets = device.allocate(MOST * SETS * setBytes, "activations of few tokens");
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

  /** Whether a block's warps hold their share of each matrix of a model in registers, and its heads are 64 wide. */
  static boolean fits(ModelConfig config) {
    int attention = config.heads() * config.headSize();
    return config.headSize() == 64 && config.hidden() <= 1024 && attention <= 1024 && config.feedForward() <= 2560
        && config.hidden() % 32 == 0 && config.feedForward() % 32 == 0;
  }

  /**
   * Runs {@code layers} layers.
   *
   * @param plan of up to {@link #MOST} last blocks, laid out in turn
   * @param x the embedded tokens, then the residual, rounded, {@code [tokens][hidden]}
   * @param residual the same in fp32
   * @throws IllegalArgumentException for more last blocks than that
   */
  void run(BatchPlan plan, AttentionLauncher.Launch attention, int layers, long x, long residual) {
    if (plan.sequenceCount() > MOST) {
      throw new IllegalArgumentException("%d last blocks, of at most %d".formatted(plan.sequenceCount(), MOST));
    }
    int most = plan.sequenceCount() == 1 ? 1 : MOST;
    device.fill(sets, UNWRITTEN, most * SETS * setBytes);
    try (Arena scratch = Arena.ofConfined()) {
      Struct arguments = attention.arguments(new Struct(scratch, 200), 0).put(0).put(table)
          .put(plan.requests).put(plan.positions).put(plan.places).put(weights.rope()).put(x).put(residual).put(sets)
          .put(met).put(layers).put(plan.sequenceCount()).put((float) weights.config().normEpsilon())
          .put(plan.longest()).put(attention.merges() ? 1 : 0).put(0);
      kernels.layers(SkinnyProducts.tokenTiles(plan.longest()), plan.quantised(), most)
          .launchTogether(device.multiprocessors, THREADS, arguments.memory());
    }
  }
}
