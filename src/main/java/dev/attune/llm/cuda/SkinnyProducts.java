package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.Kernels.Epilogue;
import dev.attune.llm.cuda.Kernels.SkinnyShape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Products of a matrix with up to {@link #MAX_TOKENS} tokens, weights streamed once; see {@code skinny.cu}. */
final class SkinnyProducts {

  static final int MAX_TOKENS = 64;

  /** Token tiles of a block where blocks share the tokens. */
  private static final int MOST_TILES = 3;

  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  /** Shared by all products: they run one after the other. */
  private final long partial;
  private final long arrived;

  SkinnyProducts(CudaDevice device, Kernels kernels, CudaWeights weights) {
    this.config = weights.config();
    this.kernels = kernels;
    this.weights = weights;
    long widest = Math.max(Math.max(config.hidden(), 2L * config.feedForward()),
        (config.heads() + 2L * config.kvHeads()) * config.headSize());
    // At most eight splits of the narrower matrices, in whole blocks of tiles.
    partial = device.allocate(8 * (widest + 1024) * (MAX_TOKENS + 1) * 4, "parts of products");
    arrived = device.allocate(4 * (widest / 16 + 64), "counters of products");
    device.fill(arrived, 0, 4 * (widest / 16 + 64));
  }

  /**
   * Queries, rotated, and keys and values into their segments.
   *
   * @param pick rows of x, or 0 for the first {@code tokens}
   * @param places where keys and values go, or 0 to compute queries only
   */
  void qkv(int layer, long x, long pick, int tokens, long q, long places, long positions) {
    int heads = places == 0 ? config.heads() : config.heads() + 2 * config.kvHeads();
    run(Epilogue.QKV, weights.layers().get(layer).qkv(), heads * config.headSize(), config.hidden(), x, pick, tokens, q,
        places, positions, layer, 0, 0, 0);
  }

  /** Adds the output projection of attention to {@code residual} and copies the sum, rounded, to {@code out}. */
  void attentionOutput(int layer, long x, int tokens, long residual, long out) {
    run(Epilogue.RESIDUAL, weights.layers().get(layer).attentionOutput(), config.hidden(),
        config.heads() * config.headSize(), x, 0, tokens, 0, 0, 0, layer, residual, out, 0);
  }

  /** {@code out = silu(gate) * up} of the normalised tokens. */
  void gateUp(int layer, long x, int tokens, long out) {
    run(Epilogue.SWIGLU, weights.layers().get(layer).gateUp(), 2 * config.feedForward(), config.hidden(), x, 0, tokens,
        0, 0, 0, layer, 0, out, 0);
  }

  /** Adds the down projection to {@code residual} and copies the sum, rounded, to {@code out}. */
  void down(int layer, long x, int tokens, long residual, long out) {
    run(Epilogue.RESIDUAL, weights.layers().get(layer).down(), config.hidden(), config.feedForward(), x, 0, tokens, 0,
        0, 0, layer, residual, out, 0);
  }

  /** Next-token logits in fp32, {@code [tokens][padded vocabulary]}. */
  void logits(long x, long pick, int tokens, long logits) {
    run(Epilogue.LOGITS, weights.output(), weights.paddedVocabulary(), config.hidden(), x, pick, tokens, 0, 0, 0, 0, 0,
        0, logits);
  }

  private void run(
      Epilogue epilogue, long matrix, int outputs, int inputs, long x, long pick, int tokens, long q, long places,
      long positions, int layer, long residual, long out, long logits) {
    if (tokens < 1 || tokens > MAX_TOKENS) {
      throw new IllegalArgumentException("%s of %d tokens, not 1 to %d".formatted(epilogue, tokens, MAX_TOKENS));
    }
    SkinnyShape shape = kernels.skinnyShape(epilogue, outputs, inputs);
    int tiles = outputs / 16;
    Share share = share(shape, tokens);
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment arguments = new Struct(scratch, 128).put(matrix).put(x).put(pick).put(tiles).put(tokens)
          .put((float) config.normEpsilon()).put(0).put(partial).put(arrived).put(q).put(places).put(positions)
          .put(weights.rope()).put(layer).put(config.heads()).put(config.kvHeads()).put(0).put(residual)
          .put(out).put(logits).memory();
      kernels.skinny(epilogue, shape, inputs, share.tokenTiles).launchEarly(
          (tiles + shape.blockTiles() - 1) / shape.blockTiles(), share.rows, shape.threads(), arguments);
    }
  }

  /**
   * What a block has of the tokens.
   *
   * @param rows of blocks: splits of the inputs, or parts of the tokens
   * @param tokenTiles that a block has
   */
  record Share(int rows, int tokenTiles) {}

  /** How tokens are shared out between blocks. */
  static Share share(SkinnyShape shape, int tokens) {
    if (shape.splits() > 1 || shape.outputWarps() > 1) {
      return new Share(shape.splits(), tokenTiles(tokens));
    }
    // Small matrices: reading the tokens takes longer than the weights, so blocks share the tokens.
    int tiles = (tokens + 7) / 8;
    int rows = (tiles + MOST_TILES - 1) / MOST_TILES;
    return new Share(rows, (tiles + rows - 1) / rows);
  }

  /** Tiles of eight tokens that kernels are compiled for. */
  static int tokenTiles(int tokens) {
    int tiles = (tokens + 7) / 8;
    return tiles <= 2 ? tiles : (tiles + 1) / 2 * 2;
  }
}
