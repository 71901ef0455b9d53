package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.KernelModule.Kernel;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The kernels for one model shape, compiled when first needed. */
final class Kernels {

  /** Keys of a tile of attention; parts of a context begin at multiples of it. */
  static final int KEY_TILE = 64;
  /** Packed query rows of a warpgroup of attention of documents and last blocks. */
  private static final int WARPGROUP_ROWS = 64;
  private static final int DECODE_ROWS = 16;

  /**
   * A compiled attention kernel.
   *
   * @param unscaled for contexts in 16 bits
   * @param int8 for contexts some of which is int8, or null when {@link RaggedAttention} takes those
   * @param tileRows packed query rows of a tile
   * @param atOnce blocks that the device runs at once
   */
  record Attention(
      Kernel unscaled, @Nullable Kernel int8, Kernel merge, int tileRows, int threads, int atOnce) {

    Kernel kernel(boolean quantised) {
      return quantised ? Objects.requireNonNull(int8, "attention over int8") : unscaled;
    }
  }

  /**
   * A compiled product with many rows.
   *
   * @param outputs of a tile
   * @param stages of the pipeline from memory
   * @param kept steps of a tile's rows that stay in shared memory while its outputs are computed: all or none
   */
  record GemmShape(int outputs, int stages, int kept) {

    static final int ROWS = 128;
    static final int THREADS = 384;
    /** Of each row and output of a step. */
    private static final int STEP_BYTES = 128;
    /** What a block may have, without what aligning and barriers take. */
    private static final int MEMORY = (227 << 10) - 2048;
    private static final int FEWEST_STAGES = 3;

    /** Tiles of so many outputs, for as many inputs. */
    static GemmShape of(int outputs, int inputs, boolean fp8) {
      int inStep = STEP_BYTES / (fp8 ? 1 : 2);
      int steps = (inputs + inStep - 1) / inStep;
      int stages = (MEMORY - steps * ROWS * STEP_BYTES) / (outputs * STEP_BYTES);
      // A tile fills each stage again, so that its part of the residual has left before the next tile's comes.
      return stages >= FEWEST_STAGES ? new GemmShape(outputs, Math.min(stages, steps + outputs / 64), steps)
          : new GemmShape(outputs, MEMORY / ((ROWS + outputs) * STEP_BYTES), 0);
    }

    /** Outputs whose residual is in one stage of the pipeline. */
    int partOfResidual() {
      return outputs == 256 && kept == 0 ? 128 : 64;
    }

    int sharedBytes() {
      return (kept * ROWS + stages * (kept > 0 ? outputs : ROWS + outputs)) * STEP_BYTES + 1024;
    }
  }

  /** What a product does with its result. */
  enum Epilogue {
    QKV,
    RESIDUAL,
    SWIGLU,
    LOGITS
  }

  /**
   * How a product with few tokens is shared out.
   *
   * @param outputTiles tiles of 16 outputs a warp
   * @param outputWarps warps side by side along the outputs
   * @param inputWarps warps that share the inputs of a tile
   * @param splits blocks that share the inputs of a tile
   * @param ahead steps of 32 inputs of weights in flight
   */
  record SkinnyShape(int outputTiles, int outputWarps, int inputWarps, int splits, int ahead) {

    int threads() {
      return outputWarps * inputWarps * 32;
    }

    int blockTiles() {
      return outputTiles * outputWarps;
    }

    int sharedBytes(int tokenTiles) {
      return inputWarps * blockTiles() * tokenTiles * 512;
    }

    /** As many steps of the tokens as registers allow; divides {@code ahead}. */
    private int aheadOfTokens(int tokenTiles) {
      int steps = ahead;
      while (steps > 1 && (ahead % steps != 0 || steps * tokenTiles > 16)) {
        steps--;
      }
      return steps;
    }
  }

  /** All layers of a last block. */
  static final String LAYERS = "layers.cu";

  private final CudaDevice device;
  private final Nvrtc compiler;
  private final ModelConfig config;
  final Numbers numbers;
  private final Map<List<String>, KernelModule> modules = new HashMap<>();
  private final Map<List<Object>, Kernel> kernels = new HashMap<>();

  final Kernel embed;
  final Kernel rmsNorm;
  final Kernel ropeKeep;
  final Kernel swiglu;
  final Kernel buildTable;
  final Kernel addLowRank;
  final Kernel gatherSlots;
  final Kernel quantise;
  final Kernel quantiseRows;
  final Kernel largestNorm;
  final Kernel largestMagnitude;
  final Kernel boundSwiglu;
  final Kernel argmaxAdvance;
  final Kernel fillNormal;
  /** Of last blocks. */
  final Attention wideAttention;
  /** Of many tokens. */
  final Attention documentAttention;
  final Attention decodeAttention;
  final Kernel probeMeasure;
  final Kernel probeMasses;

  Kernels(CudaDevice device, Nvrtc compiler, ModelConfig config, Numbers numbers) {
    this.device = device;
    this.compiler = compiler;
    this.config = config;
    this.numbers = numbers;
    KernelModule elementwise = module("elementwise.cu");
    embed = elementwise.kernel("embed");
    rmsNorm = elementwise.kernel("rms_norm");
    ropeKeep = elementwise.kernel("rope_keep");
    swiglu = elementwise.kernel("swiglu");
    buildTable = elementwise.kernel("build_table");
    addLowRank = elementwise.kernel("add_low_rank");
    gatherSlots = elementwise.kernel("gather_slots");
    quantise = elementwise.kernel("quantise");
    quantiseRows = elementwise.kernel("quantise_rows");
    largestNorm = elementwise.kernel("largest_norm");
    largestMagnitude = elementwise.kernel("largest_magnitude");
    boundSwiglu = elementwise.kernel("bound_swiglu");
    argmaxAdvance = elementwise.kernel("argmax_advance");
    fillNormal = elementwise.kernel("fill_normal");
    int d = config.headSize();
    KernelModule attention = module("attention.cu");
    Kernel merge = attention.kernel("merge_" + d);
    wideAttention = wideAttention(merge, 3, false);
    documentAttention = wideAttention(merge, d == 64 ? 3 : 2, true);
    decodeAttention = new Attention(attention.kernel("attention_" + d + "_decode", decodeBytes(d)), null, merge,
        DECODE_ROWS, 32, 2 * device.multiprocessors);
    KernelModule probe = module("probe.cu");
    probeMeasure = probe.kernel("probe_measure_" + d, maxProbeBytes());
    probeMasses = probe.kernel("probe_masses");
  }

  private Attention wideAttention(Kernel merge, int warpgroups, boolean documents) {
    KernelModule module = module("wide.cu", wideOptions(config.headSize(), documents));
    int bytes = wideBytes(config.headSize(), documents);
    return new Attention(module.kernel("attention_wide", bytes), module.kernel("attention_wide_int8", bytes), merge,
        warpgroups * WARPGROUP_ROWS, (warpgroups + 1) * 128, device.multiprocessors);
  }

  /** What attention of documents or of last blocks is compiled for. */
  static List<String> wideOptions(int headSize, boolean documents) {
    String size = "-DHEAD_SIZE=" + headSize;
    String room = "-DSHARED_ROOM=" + wideBytes(headSize, documents);
    return documents ? List.of(size, room, "-DDOCUMENTS") : List.of(size, room);
  }

  /** Shared memory of a block of wide attention: what {@code wide.cuh} needs, which does not compile with less. */
  private static int wideBytes(int headSize, boolean documents) {
    return (headSize == 64 && !documents ? 187 : 220) << 10;
  }

  /** Shared memory of a warp: two stages of keys and values, three of where they lie. */
  private static int decodeBytes(int d) {
    return KEY_TILE * (2 * 2 * d * 2 + 3 * 16);
  }

  /** Whether attention of sequences of so many tokens uses wide tiles. */
  static boolean wide(int tokens, ModelConfig config) {
    return tokens * (config.heads() / config.kvHeads()) > DECODE_ROWS;
  }

  /** Why the kernels cannot run a model, or empty when they can. */
  static Optional<String> refusal(ModelConfig config) {
    if (config.headSize() != 64 && config.headSize() != 128) {
      return Optional.of("heads of %d are not supported (64 and 128 are)".formatted(config.headSize()));
    }
    if (config.hidden() % 64 != 0 || config.feedForward() % 64 != 0) {
      return Optional.of("widths of %d and %d are not supported (multiples of 64 are)".formatted(
          config.hidden(), config.feedForward()));
    }
    return Optional.empty();
  }

  /** Shared memory for the queries of a probe; what does not fit is refused by {@link #maxProbeRows}. */
  private int maxProbeBytes() {
    return 160 << 10;
  }

  /** Rows that one probe may have. */
  int maxProbeRows() {
    return maxProbeBytes() / (config.heads() * config.headSize() * 4);
  }

  /** A product of many rows, in 16 bits or E4M3. */
  Kernel gemm(Epilogue epilogue, GemmShape shape, boolean fp8) {
    return kernels.computeIfAbsent(List.of(epilogue, shape, fp8), key -> module("gemm.cu", "-DFP8=" + (fp8 ? 1 : 0),
        "-DOUTPUTS=" + shape.outputs, "-DSTAGES=" + shape.stages, "-DKEPT=" + shape.kept).kernel(switch (epilogue) {
          case QKV -> "gemm_qkv";
          case RESIDUAL -> "gemm_residual";
          case SWIGLU -> "gemm_swiglu";
          case LOGITS -> throw new IllegalArgumentException("Logits are a product with few rows");
        }, shape.sharedBytes()));
  }

  Kernel skinny(Epilogue epilogue, SkinnyShape shape, int inputs, int tokenTiles) {
    return kernels.computeIfAbsent(List.of(epilogue, shape, inputs, tokenTiles),
        key -> module("skinny.cu", skinnyOptions(config, epilogue, shape, inputs, tokenTiles))
            .kernel("skinny", shape.sharedBytes(tokenTiles)));
  }

  /** What a product of few tokens is compiled for. */
  static List<String> skinnyOptions(
      ModelConfig config, Epilogue epilogue, SkinnyShape shape, int inputs, int tokenTiles) {
    return List.of("-DEPILOGUE=" + epilogue, "-DTOKEN_TILES=" + tokenTiles, "-DOUTPUT_TILES=" + shape.outputTiles,
        "-DOUTPUT_WARPS=" + shape.outputWarps, "-DINPUT_WARPS=" + shape.inputWarps, "-DAHEAD=" + shape.ahead,
        "-DAHEAD_X=" + shape.aheadOfTokens(tokenTiles), "-DINPUTS=" + inputs, "-DSPLITS=" + shape.splits,
        "-DHEAD_SIZE=" + config.headSize());
  }

  /** The products of {@link ProductChain}. */
  Kernel chain(boolean fp8, int tokens) {
    return kernels.computeIfAbsent(List.of("chain", fp8, tokens), key -> module("chain.cu",
        ProductChain.options(config, fp8, tokens, device.multiprocessors)).kernel("chain", ProductChain.SHARED_BYTES));
  }

  /** All layers of a last block, or of up to so many; see {@link FusedLayers}. */
  Kernel layers(int tokenTiles, boolean int8, int most) {
    return kernels.computeIfAbsent(List.of("layers", tokenTiles, int8, most), key -> module(LAYERS,
        layersOptions(config, tokenTiles, int8, most)).kernel("layers", FusedLayers.SHARED_BYTES));
  }

  /** What the kernel of all layers is compiled for. */
  static List<String> layersOptions(ModelConfig config, int tokenTiles, boolean int8, int most) {
    return List.of("-DHEAD_SIZE=" + config.headSize(), "-DHIDDEN=" + config.hidden(), "-DHEADS=" + config.heads(),
        "-DKV_HEADS=" + config.kvHeads(), "-DFEED_FORWARD=" + config.feedForward(), "-DTOKEN_TILES=" + tokenTiles,
        "-DINT8=" + (int8 ? 1 : 0), "-DREQUESTS=" + most);
  }

  /** How to share out a product of few tokens with a matrix. */
  SkinnyShape skinnyShape(Epilogue epilogue, int outputs, int inputs) {
    int steps = inputs / 32;
    if (epilogue == Epilogue.LOGITS) {
      return new SkinnyShape(inputs <= 2048 ? 1 : 2, 8, 1, 1, inputs <= 2048 ? 6 : 4);
    }
    if (inputs <= 2048) {
      // All of a warp's weights are in flight before its tokens arrive.
      int warps = 8;
      for (int candidate : new int[] {9, 12, 8}) {
        if (steps % candidate == 0 && steps / candidate <= 4) {
          warps = candidate;
          break;
        }
      }
      return new SkinnyShape(1, 1, warps, 1, Math.min(4, (steps + warps - 1) / warps));
    }
    int tiles = outputs / 16;
    if (tiles >= 16 * 96) {
      return new SkinnyShape(2, 8, 1, 1, 4);
    }
    int blocks = (tiles + 7) / 8;
    return new SkinnyShape(2, 4, 2, Math.clamp(device.multiprocessors / blocks, 1, 8), 4);
  }

  /**
   * Attention over heads of different length, and tables for it.
   *
   * @param queryHeads of a cluster, a divisor of those of a KV head
   * @param blocks of a cluster
   */
  KernelModule ragged(int queryHeads, int blocks) {
    return module("ragged.cu", "-DHEAD_SIZE=" + config.headSize(), "-DHEADS=" + config.heads(),
        "-DKV_HEADS=" + config.kvHeads(), "-DPER=" + queryHeads, "-DCLUSTER=" + blocks);
  }

  /** Makes segments whose heads differ. */
  Kernel retainHeads() {
    return kernels.computeIfAbsent(
        List.of("retain"), key -> module("retain.cu", "-DHEAD_SIZE=" + config.headSize()).kernel("retain_heads"));
  }

  private KernelModule module(String resource, String... options) {
    return module(resource, List.of(options));
  }

  private KernelModule module(String resource, List<String> options) {
    return modules.computeIfAbsent(List.of(resource, String.join(" ", options)), key -> new KernelModule(
        device, compiler.compile(resource, device.architecture, numbers, options).code(), resource));
  }
}
