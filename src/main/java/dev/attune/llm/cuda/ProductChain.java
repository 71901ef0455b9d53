package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The products between the attention of one layer and that of the next as one kernel, for few tokens and large
 * matrices, at the speed at which weights come from memory; see {@code chain.cu}. The residual and its sums of squares
 * go from one to the next.
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

  /**
   * How a product is shared out.
   *
   * @param rows outputs of a tile
   * @param splits blocks that share the inputs of a tile
   */
  record Cut(int rows, int splits) {}

  /** Tokens in E4M3, in steps of 128 inputs, and a scale for each token and step. */
  private record Codes(long numbers, long scales) {}

  /** Outputs that sums of squares come in parts of. */
  static final int PART = 128;
  /** Bytes of an output's weights, and of a token, that are multiplied in a step. */
  private static final int STEP_BYTES = 128;
  private static final int MOST_ROWS = 256;
  /** Of a tile whose sums come in parts: with fewer, too little of the weights would be under way. */
  private static final int FEWEST_ROWS = 128;
  private static final int MOST_SPLITS = 8;
  /** What the sums of an output cost, in steps of its weights. */
  private static final int PART_COST = 8;
  private static final int MOST_TOKEN_STAGES = 16;
  /** Below, all weights of a layer are requested before the tokens are there, which other kernels do better. */
  private static final int SMALLEST_INPUTS = 2048;
  private static final int THREADS = 640;
  private static final int STAGE_BYTES = 224 << 10;
  /** Of a block, with what aligning takes. */
  static final int SHARED_BYTES = STAGE_BYTES + 1024;
  private static final int MAP_BYTES = 128;
  private static final int MERGE_BYTES = 64;
  private static final int ARGUMENT_BYTES = 200;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final @Nullable Fp8Weights fp8;
  private final Buffers buffers;
  private final long squares;
  private final long parts;
  private final long met;
  /** What goes into products, in E4M3 with its scales, by width; for FP8. */
  private final @Nullable Codes mixedCodes;
  private final @Nullable Codes xCodes;
  private final @Nullable Codes innerCodes;
  private final Map<Phase, Cut> cuts;
  private final MemorySegment[] maps;

  /**
   * Chains over some activations.
   *
   * @param fp8 for models that {@link #fitsFp8}; null to multiply with the weights in 16 bits
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
    cuts = cuts(config, fp8 != null, device.multiprocessors);
    long most = 0;
    for (Phase phase : Phase.values()) {
      most = Math.max(most, (long) outputs(config, phase) * cuts.get(phase).splits);
    }
    parts = device.allocate(4L * rows * most, "parts of products");
    met = device.allocate(8, "counters of blocks");
    device.fill(met, 0, 8);
    maps = new MemorySegment[rows / 16 + 1];
    mixedCodes = codes(inputs(config, Phase.OUTPUT));
    xCodes = codes(inputs(config, Phase.GATE_UP));
    innerCodes = codes(inputs(config, Phase.DOWN));
  }

  /** Zero, as inputs behind the last stay. */
  private @Nullable Codes codes(int inputs) {
    if (fp8 == null) {
      return null;
    }
    long steps = (inputs + STEP_BYTES - 1) / STEP_BYTES;
    long bytes = steps * SkinnyProducts.MAX_TOKENS * STEP_BYTES;
    long scales = steps * SkinnyProducts.MAX_TOKENS * 4;
    String what = "activations of few tokens in FP8";
    Codes codes = new Codes(device.allocate(bytes, what), device.allocate(scales, what));
    device.fill(codes.numbers, 0, bytes);
    device.fill(codes.scales, 0, scales);
    return codes;
  }

  /** How a model's products are shared out between so many blocks. */
  private static Map<Phase, Cut> cuts(ModelConfig config, boolean fp8, int blocks) {
    Map<Phase, Cut> cuts = new EnumMap<>(Phase.class);
    for (Phase phase : Phase.values()) {
      cuts.put(phase, cut(phase, inputs(config, phase), outputs(config, phase), fp8, blocks));
    }
    return cuts;
  }

  /** What the kernel is compiled for. */
  static List<String> options(ModelConfig config, boolean fp8, int tokens, int blocks) {
    int weightStages = fp8 ? 5 : 6;
    // What is in flight of tokens reaches about as far ahead as what is of weights.
    int free = STAGE_BYTES - weightStages * MOST_ROWS * STEP_BYTES;
    int tokenBytes = tokens * STEP_BYTES;
    if (fp8) {
      // SwiGLU's numbers of a tile, half as many in 16 bits as outputs, and scales of tokens.
      free -= tokens * MOST_ROWS;
      tokenBytes += tokens * 4;
    }
    int tokenStages = free / tokenBytes;
    List<Cut> cuts = List.copyOf(cuts(config, fp8, blocks).values());
    return List.of("-DFP8=" + (fp8 ? 1 : 0), "-DTOKENS=" + tokens, "-DW_STAGES=" + weightStages,
        "-DIN_FLIGHT=" + (fp8 ? 3 : 4), "-DX_STAGES=" + Math.min(MOST_TOKEN_STAGES, tokenStages),
        "-DHIDDEN=" + config.hidden(),
        "-DHEADS=" + config.heads(), "-DKV_HEADS=" + config.kvHeads(), "-DHEAD_SIZE=" + config.headSize(),
        "-DFEED_FORWARD=" + config.feedForward(),
        "-DTILE_ROWS=" + cuts.stream().map(cut -> Integer.toString(cut.rows)).collect(Collectors.joining(",")),
        "-DSPLITS=" + cuts.stream().map(cut -> Integer.toString(cut.splits)).collect(Collectors.joining(",")));
  }

  /**
   * The cut with which the block that has most ends first. What takes time is bringing weights and, at twice the rate,
   * tokens, and the sums of each output, which other blocks read. A tile of gate and up is one block's, so that its
   * sums need not be put together; with FP8 it makes all inputs of a step of the product after it, which have a scale
   * in common.
   */
  private static Cut cut(Phase phase, int inputs, int outputs, boolean fp8, int blocks) {
    int steps = (inputs * (fp8 ? 1 : 2) + STEP_BYTES - 1) / STEP_BYTES;
    if (phase == Phase.GATE_UP) {
      int rounds = (outputs + MOST_ROWS * blocks - 1) / (MOST_ROWS * blocks);
      int even = ((outputs + blocks * rounds - 1) / (blocks * rounds) + 15) / 16 * 16;
      return new Cut(fp8 ? MOST_ROWS : even, 1);
    }
    Cut best = new Cut(MOST_ROWS, 1);
    long least = Long.MAX_VALUE;
    for (int rows = MOST_ROWS; rows >= FEWEST_ROWS; rows -= 64) {
      int tiles = (outputs + rows - 1) / rows;
      for (int splits = 1; splits <= Math.min(MOST_SPLITS, steps); splits++) {
        long rounds = (tiles * splits + blocks - 1) / blocks;
        long time = rounds * ((steps + splits - 1) / splits * (rows + 32L) + rows * PART_COST);
        if (time < least) {
          least = time;
          best = new Cut(rows, splits);
        }
      }
    }
    return best;
  }

  /** Whether the kernel is for a model's matrices. */
  static boolean fits(ModelConfig config) {
    int queries = config.heads() * config.headSize();
    int keys = config.kvHeads() * config.headSize();
    return config.hidden() > SMALLEST_INPUTS && queries > SMALLEST_INPUTS && config.hidden() % PART == 0
        && config.feedForward() % 64 == 0 && queries % 64 == 0 && (queries + 2 * keys) % PART == 0;
  }

  /** Whether it is for a model's matrices in FP8: a head is as wide as a step of tokens. */
  static boolean fitsFp8(ModelConfig config) {
    return fits(config) && config.headSize() == STEP_BYTES;
  }

  /** Where {@link Kernels#embed} leaves the sums of squares of the first layer's input, one part a token. */
  long squares() {
    return squares;
  }

  /** Queries, keys and values of the first layer, from what {@link Kernels#embed} left. */
  void begin(BatchPlan plan, int tokens) {
    run(Phase.QKV, Phase.QKV, 0, tokens, plan.places, plan.positions, null);
  }

  /**
   * From what a layer's attention left to the queries, keys and values of the next, or, after the last, to the
   * residual.
   *
   * @param merge {@code MergeArgs} of parts that attention left, or null
   */
  void run(BatchPlan plan, int tokens, int layer, boolean last, @Nullable MemorySegment merge) {
    run(Phase.OUTPUT, last ? Phase.DOWN : Phase.QKV, layer, tokens, plan.places, plan.positions, merge);
  }

  /**
   * Some products of a chain.
   *
   * @param layer of the first
   * @param places where keys and values go, a {@code Row} for each token
   * @param merge {@code MergeArgs} of parts to put together first, or null
   */
  void run(
      Phase first, Phase last, int layer, int tokens, long places, long positions, @Nullable MemorySegment merge) {
    int width = (tokens + 15) / 16 * 16;
    int queried = first == Phase.QKV ? layer : layer + 1;
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment described = scratch.allocate(7L * MAP_BYTES, 64);
      Struct arguments = new Struct(scratch, ARGUMENT_BYTES).put(first.ordinal()).put(last.ordinal()).put(tokens)
          .put(queried).put(merge == null ? 0 : 1).put((float) config.normEpsilon()).put(1).put(squares)
          .put(buffers.residual).put(buffers.x).put(buffers.inner).put(buffers.q).put(places).put(positions)
          .put(weights.rope()).put(parts).put(met);
      for (Phase phase : Phase.values()) {
        boolean used = phase.compareTo(first) >= 0 && phase.compareTo(last) <= 0;
        Matrix matrix = used ? matrix(phase, phase == Phase.QKV ? queried : layer) : new Matrix(0, 0);
        if (used) {
          MemorySegment map = TensorMap.of(device, scratch, matrix.address(), outputs(config, phase),
              inputs(config, phase), cuts.get(phase).rows, fp8 == null ? 2 : 1);
          MemorySegment.copy(map, 0, described, (long) phase.ordinal() * MAP_BYTES, MAP_BYTES);
        }
        arguments.put(matrix.scales());
      }
      arguments.put(buffers.mixed);
      for (Codes codes : new Codes[] {mixedCodes, xCodes, innerCodes}) {
        arguments.put(codes == null ? 0 : codes.numbers).put(codes == null ? 0 : codes.scales);
      }
      if (fp8 == null) {
        described.asSlice(4L * MAP_BYTES).copyFrom(tokenMaps(width));
      }
      kernels.chain(fp8 != null, width).launchTogetherEarly(device.multiprocessors, THREADS, described,
          arguments.memory(), merge == null ? scratch.allocate(MERGE_BYTES, 8) : merge);
    }
  }

  private MemorySegment tokenMaps(int width) {
    MemorySegment known = maps[width / 16];
    if (known == null) {
      known = Arena.ofAuto().allocate(3L * MAP_BYTES, 64);
      int attention = config.heads() * config.headSize();
      long at = 0;
      for (long[] x : new long[][] {
          {buffers.mixed, attention}, {buffers.x, config.hidden()}, {buffers.inner, config.feedForward()}}) {
        MemorySegment.copy(TensorMap.of(device, Arena.ofAuto(), x[0], SkinnyProducts.MAX_TOKENS, (int) x[1], width), 0,
            known, at, MAP_BYTES);
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
    return Matrix.unscaled(switch (phase) {
      case OUTPUT -> matrices.attentionOutput();
      case GATE_UP -> matrices.gateUp();
      case DOWN -> matrices.down();
      case QKV -> matrices.qkv();
    });
  }

  private static int outputs(ModelConfig config, Phase phase) {
    return switch (phase) {
      case OUTPUT, DOWN -> config.hidden();
      case GATE_UP -> 2 * config.feedForward();
      case QKV -> (config.heads() + 2 * config.kvHeads()) * config.headSize();
    };
  }

  private static int inputs(ModelConfig config, Phase phase) {
    return switch (phase) {
      case OUTPUT -> config.heads() * config.headSize();
      case GATE_UP, QKV -> config.hidden();
      case DOWN -> config.feedForward();
    };
  }
}
