package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.KernelModule.Kernel;
import dev.attune.llm.cuda.Kernels.Epilogue;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Products of large matrices with the tokens of a last block, at the speed at which weights come from memory; see {@code
 * stream.cu}. Sums of squares of the residual go from product to product, in parts of {@link #TILE} outputs.
 */
final class StreamProducts {

  /** Outputs of a block. */
  static final int TILE = 128;
  /** Below, all weights of a layer are requested before the tokens are there, which other kernels do better. */
  private static final int SMALLEST_INPUTS = 2048;
  private static final int DEPTH = 64;
  private static final int THREADS = 288;
  private static final int MOST_SPLITS = 8;
  private static final int BLOCKS_PER_MULTIPROCESSOR = 2;
  /** Shared memory of a block, so that two are on a multiprocessor, whose 228 KB hold 1 KB more for each. */
  private static final int SHARED_BYTES = 112 << 10;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final Map<List<Long>, MemorySegment> maps = new HashMap<>();
  private final long squares;

  StreamProducts(CudaDevice device, Kernels kernels, CudaWeights weights) {
    this.device = device;
    this.config = weights.config();
    this.kernels = kernels;
    this.weights = weights;
    squares = device.allocate(4L * SkinnyProducts.MAX_TOKENS * (config.hidden() / TILE + 1), "sums of squares");
  }

  /** Whether these kernels are for a model's matrices. */
  static boolean fits(ModelConfig config) {
    int queries = config.heads() * config.headSize();
    int keys = config.kvHeads() * config.headSize();
    return config.hidden() > SMALLEST_INPUTS && queries > SMALLEST_INPUTS && config.hidden() % TILE == 0
        && config.feedForward() % DEPTH == 0 && queries % DEPTH == 0 && (queries + 2 * keys) % TILE == 0;
  }

  /** Where {@link Kernels#embed} leaves the sums of squares of the first layer's input, one part a token. */
  long squares() {
    return squares;
  }

  /** Parts that a residual product leaves sums of squares in. */
  int squareParts() {
    return config.hidden() / TILE;
  }

  /**
   * Queries, rotated, and keys and values into their segments, of normalised tokens.
   *
   * @param parts of the sums of squares of x
   */
  void qkv(int layer, long x, int parts, int tokens, long q, long places, long positions) {
    run(Epilogue.QKV, weights.layers().get(layer).qkv(), (config.heads() + 2 * config.kvHeads()) * config.headSize(),
        config.hidden(), x, parts, tokens, q, places, positions, layer, 0, 0);
  }

  /** Adds the output projection of attention to {@code residual} and copies the sum, rounded, to {@code out}. */
  void attentionOutput(int layer, long x, int tokens, long residual, long out) {
    run(Epilogue.RESIDUAL, weights.layers().get(layer).attentionOutput(), config.hidden(),
        config.heads() * config.headSize(), x, 0, tokens, 0, 0, 0, layer, residual, out);
  }

  /** {@code out = silu(gate) * up} of normalised tokens. */
  void gateUp(int layer, long x, int parts, int tokens, long out) {
    run(Epilogue.SWIGLU, weights.layers().get(layer).gateUp(), 2 * config.feedForward(), config.hidden(), x, parts,
        tokens, 0, 0, 0, layer, 0, out);
  }

  /** Adds the down projection to {@code residual} and copies the sum, rounded, to {@code out}. */
  void down(int layer, long x, int tokens, long residual, long out) {
    run(Epilogue.RESIDUAL, weights.layers().get(layer).down(), config.hidden(), config.feedForward(), x, 0, tokens, 0, 0,
        0, layer, residual, out);
  }

  /** {@code x} has {@link SkinnyProducts#MAX_TOKENS} rows, whatever is in those that are no tokens. */
  private void run(
      Epilogue epilogue, long matrix, int outputs, int inputs, long x, int parts, int tokens, long q, long places,
      long positions, int layer, long residual, long out) {
    int width = (tokens + 15) / 16 * 16;
    int tiles = outputs / TILE;
    int splits = splits(tiles, inputs / DEPTH);
    int stages = (SHARED_BYTES - 1024) / ((TILE + width) * DEPTH * 2);
    MemorySegment wMap = maps.computeIfAbsent(List.of(matrix, (long) outputs), key ->
        TensorMap.of(device, Arena.ofAuto(), matrix, outputs, inputs, TILE));
    MemorySegment xMap = maps.computeIfAbsent(List.of(x, (long) inputs, (long) width), key ->
        TensorMap.of(device, Arena.ofAuto(), x, SkinnyProducts.MAX_TOKENS, inputs, width));
    Kernel kernel = kernels.stream(epilogue, width, splits, inputs, stages, SHARED_BYTES);
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment arguments = new Struct(scratch, 96).put(tokens).put((float) config.normEpsilon()).put(parts)
          .put(layer).put(squares).put(q).put(places).put(positions).put(weights.rope()).put(config.heads())
          .put(config.kvHeads()).put(residual).put(out).put(squares).put(outputs).memory();
      kernel.launchEarly(tiles * splits, 1, THREADS, wMap, xMap, arguments);
    }
  }

  /** As many blocks an output tile as end the whole matrix first. */
  private int splits(int tiles, int steps) {
    int slots = device.multiprocessors * BLOCKS_PER_MULTIPROCESSOR;
    int best = 1;
    long least = Long.MAX_VALUE;
    for (int splits = 1; splits <= MOST_SPLITS; splits++) {
      int atOnce = slots / splits;
      // The start of a block takes about as long as three steps.
      long time = (long) ((tiles + atOnce - 1) / atOnce) * ((steps + splits - 1) / splits + 3);
      if (time < least) {
        least = time;
        best = splits;
      }
    }
    return best;
  }
}
