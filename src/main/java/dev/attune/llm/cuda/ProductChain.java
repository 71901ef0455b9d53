package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The products between the attention of one layer and that of the next as one kernel, for few tokens and large matrices, at the
 * speed at which weights come from memory; see {@code chain.cu}. The residual and its sums of squares go from one to the next.
 */
final class ProductChain {

  /** What a chain consists of, in order. */
  enum Phase {
    OUTPUT,
    GATE_UP,
    DOWN,
    QKV
  }

  /**
   * Activations, each of {@link SkinnyProducts#MAX_TOKENS} rows, whatever is in those that are no tokens.
   *
   * @param mixed values that attention has mixed, {@code [rows][heads * headSize]}
   * @param x the residual, rounded, {@code [rows][hidden]}
   * @param residual {@code [rows][hidden]} in fp32
   * @param inner {@code [rows][feedForward]}
   * @param q queries, rotated, {@code [rows][heads * headSize]}
   */
  record Buffers(long mixed, long x, long residual, long inner, long q) {}

  /** Outputs that sums of squares come in parts of. */
  static final int PART = 128;
  static final int TILE = 256;
  static final int STEP_BYTES = 128;
  static final int W_STAGES = 6;
  /** Below, all weights of a layer are requested before the tokens are there, which other kernels do better. */
  private static final int SMALLEST_INPUTS = 2048;
  private static final int THREADS = 640;
  /** Shared memory for tokens. */
  private static final int X_BYTES = 32 << 10;
  private static final int SHARED_BYTES = W_STAGES * TILE * STEP_BYTES + X_BYTES + 1024;
  private static final int MAP_BYTES = 128;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final @Nullable Fp8Weights fp8;
  private final Buffers buffers;
  private final long squares;
  private final long parts;
  private final long met;
  private final MemorySegment[] maps;

  /**
   * Chains over some activations.
   *
   * @param fp8 null to multiply with the weights in bf16
   */
  ProductChain(CudaDevice device, Kernels kernels, CudaWeights weights, @Nullable Fp8Weights fp8, Buffers buffers) {
    this.device = device;
    this.config = weights.config();
    this.kernels = kernels;
    this.weights = weights;
    this.fp8 = fp8;
    this.buffers = buffers;
    int rows = SkinnyProducts.MAX_TOKENS;
    squares = device.allocate(4L * rows * (config.hidden() / PART + 1), "sums of squares");
    int most = Arrays.stream(Phase.values()).mapToInt(phase -> (outputs(phase) + TILE - 1) / TILE).max().orElseThrow();
    parts = device.allocate(4L * rows * TILE * Math.max(device.multiprocessors, most), "parts of products");
    met = device.allocate(8, "counters of blocks");
    device.fill(met, 0, 8);
    maps = new MemorySegment[rows / 16 + 1];
  }

  /** Whether the kernel is for a model's matrices. */
  static boolean fits(ModelConfig config) {
    int queries = config.heads() * config.headSize();
    int keys = config.kvHeads() * config.headSize();
    return config.hidden() > SMALLEST_INPUTS && queries > SMALLEST_INPUTS && config.hidden() % PART == 0
        && config.feedForward() % 64 == 0 && queries % 64 == 0 && (queries + 2 * keys) % PART == 0;
  }

  /** Where {@link Kernels#embed} leaves the sums of squares of the first layer's input, one part a token. */
  long squares() {
    return squares;
  }

  /** Queries, keys and values of the first layer, from what {@link Kernels#embed} left. */
  void begin(BatchPlan plan, int tokens) {
    run(Phase.QKV, Phase.QKV, 0, tokens, plan.places, plan.positions);
  }

  /** From what a layer's attention left to the queries, keys and values of the next, or, after the last, to the residual. */
  void run(BatchPlan plan, int tokens, int layer, boolean last) {
    run(Phase.OUTPUT, last ? Phase.DOWN : Phase.QKV, layer, tokens, plan.places, plan.positions);
  }

  /**
   * Some products of a chain.
   *
   * @param layer of the first
   * @param places where keys and values go, a {@code Row} for each token
   */
  void run(Phase first, Phase last, int layer, int tokens, long places, long positions) {
    int width = (tokens + 15) / 16 * 16;
    int queried = first == Phase.QKV ? layer : layer + 1;
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment described = scratch.allocate(7L * MAP_BYTES, 64);
      Struct arguments = new Struct(scratch, 136).put(first.ordinal()).put(last.ordinal()).put(tokens).put(queried)
          .put((float) config.normEpsilon()).put(1).put(squares).put(buffers.residual).put(buffers.x).put(buffers.inner)
          .put(buffers.q).put(places).put(positions).put(weights.rope()).put(parts).put(met);
      for (Phase phase : Phase.values()) {
        boolean used = phase.compareTo(first) >= 0 && phase.compareTo(last) <= 0;
        Matrix matrix = used ? matrix(phase, phase == Phase.QKV ? queried : layer) : new Matrix(0, 0);
        if (used) {
          MemorySegment.copy(TensorMap.of(device, scratch, matrix.address(), outputs(phase), inputs(phase), TILE,
              fp8 == null ? 2 : 1), 0, described, (long) phase.ordinal() * MAP_BYTES, MAP_BYTES);
        }
        arguments.put(matrix.scales());
      }
      described.asSlice(4L * MAP_BYTES).copyFrom(tokenMaps(width));
      int xStages = X_BYTES / (width * STEP_BYTES);
      kernels.chain(fp8 != null, width, W_STAGES, xStages, SHARED_BYTES)
          .launchTogetherEarly(device.multiprocessors, THREADS, described, arguments.memory());
    }
  }

  private MemorySegment tokenMaps(int width) {
    MemorySegment known = maps[width / 16];
    if (known == null) {
      known = Arena.ofAuto().allocate(3L * MAP_BYTES, 64);
      int attention = config.heads() * config.headSize();
      long at = 0;
      for (List<Number> x : List.<List<Number>>of(List.of(buffers.mixed, attention), List.of(buffers.x, config.hidden()),
          List.of(buffers.inner, config.feedForward()))) {
        MemorySegment.copy(TensorMap.of(device, Arena.ofAuto(), x.get(0).longValue(), SkinnyProducts.MAX_TOKENS,
            x.get(1).intValue(), width), 0, known, at, MAP_BYTES);
        at += MAP_BYTES;
      }
      maps[width / 16] = known;
    }
    return known;
  }

  private Matrix matrix(Phase phase, int layer) {
    if (fp8 != null) {
      Fp8Weights.Layer matrices = fp8.layer(layer);
      return switch (phase) {
        case OUTPUT -> matrices.attentionOutput();
        case GATE_UP -> matrices.gateUp();
        case DOWN -> matrices.down();
        case QKV -> matrices.qkv();
      };
    }
    CudaWeights.Layer matrices = weights.layers().get(layer);
    return Matrix.bf16(switch (phase) {
      case OUTPUT -> matrices.attentionOutput();
      case GATE_UP -> matrices.gateUp();
      case DOWN -> matrices.down();
      case QKV -> matrices.qkv();
    });
  }

  private int outputs(Phase phase) {
    return switch (phase) {
      case OUTPUT, DOWN -> config.hidden();
      case GATE_UP -> 2 * config.feedForward();
      case QKV -> (config.heads() + 2 * config.kvHeads()) * config.headSize();
    };
  }

  private int inputs(Phase phase) {
    return switch (phase) {
      case OUTPUT -> config.heads() * config.headSize();
      case GATE_UP, QKV -> config.hidden();
      case DOWN -> config.feedForward();
    };
  }
}
