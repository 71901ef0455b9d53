package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Sorts passes into batches for the engines. Which engine runs a pass depends on the pass alone, since engines differ
 * in the order of sums.
 */
final class PassBatches {

  /** Tokens of passes that run through the layers together. */
  private static final int BATCH_TOKENS = 16384;

  /** How a pass is run. */
  enum Way {
    /** Few tokens, in wide tiles of attention: a last block. Several in a batch where one kernel runs all layers. */
    LAST_BLOCK,
    /** A step of decoding. */
    DECODE,
    /** Few tokens over a context whose heads differ, or a step of decoding over one that is in int8. */
    RAGGED_FEW,
    /** Everything else over a context whose heads differ. */
    RAGGED_MANY,
    /** Everything else. */
    PREFILL;

    /** Whether {@link SkinnyEngine} runs it. */
    boolean few() {
      return this == LAST_BLOCK || this == DECODE || this == RAGGED_FEW;
    }
  }

  /** Which last blocks of a small model may go through the layers together. */
  @FunctionalInterface
  interface Together {

    /**
     * Asked before one joins others.
     *
     * @param tokenTiles of the longest
     * @param int8 whether some of their documents are
     */
    boolean ready(int tokenTiles, boolean int8);
  }

  private PassBatches() {}

  static Way way(Pass pass, ModelConfig config) {
    int n = pass.tokens().length;
    boolean nextKeys = pass.keepKv() && pass.layers() < config.layers();
    boolean int8 = int8(pass);
    boolean ragged = pass.context().stream().anyMatch(segment -> ((CudaKvSegment) segment).ragged());
    if (ragged) {
      boolean few = pass.layers() > 0 && !nextKeys && n <= SkinnyProducts.MAX_TOKENS && pass.probe() == null;
      return few ? Way.RAGGED_FEW : Way.RAGGED_MANY;
    }
    if (pass.layers() == 0 || nextKeys || n > SkinnyProducts.MAX_TOKENS) {
      return Way.PREFILL;
    }
    if (pass.probe() == null && !Kernels.wide(n, config)) {
      return int8 ? Way.RAGGED_FEW : Way.DECODE;
    }
    boolean fits = pass.probe() == null || pass.probe().rows().length <= SkinnyProducts.MAX_TOKENS;
    return pass.keepKv() || !fits ? Way.PREFILL : Way.LAST_BLOCK;
  }

  private static boolean int8(Pass pass) {
    return pass.context().stream().anyMatch(segment -> ((CudaKvSegment) segment).shape.codec() == KvCodec.INT8);
  }

  /** Rows of a pass that a product picks out of the batch's: those that a probe asks for, and those of logits. */
  private static int picked(Pass pass) {
    int logits = switch (pass.logits()) {
      case NONE -> 0;
      case LAST -> 1;
      case ALL -> pass.tokens().length;
    };
    return logits + (pass.probe() == null ? 0 : pass.probe().rows().length);
  }

  /** Indices of the passes of each batch; all of one depth and run the same way. */
  static List<List<Integer>> of(List<Pass> passes, ModelConfig config, Together together) {
    Way[] ways = passes.stream().map(pass -> way(pass, config)).toArray(Way[]::new);
    List<Integer> order = new ArrayList<>(IntStream.range(0, passes.size()).boxed().toList());
    // Last blocks of like lengths, since a batch takes as long for each as for its longest.
    order.sort(Comparator.comparingInt((Integer i) -> passes.get(i).layers()).thenComparing(i -> ways[i])
        .thenComparing(i -> ways[i] == Way.LAST_BLOCK ? passes.get(i).tokens().length : 0));
    List<List<Integer>> batches = new ArrayList<>();
    List<Integer> batch = List.of();
    int tokens = 0;
    int picked = 0;
    boolean int8 = false;
    for (int i : order) {
      int most = switch (ways[i]) {
        // Those before are shorter: where the first fills tiles of last blocks, all do.
        case LAST_BLOCK -> FusedLayers.fits(config) && batch.size() < FusedLayers.MOST && !batch.isEmpty()
            && Kernels.wide(passes.get(batch.getFirst()).tokens().length, config)
            && picked + picked(passes.get(i)) <= SkinnyProducts.MAX_TOKENS
            && together.ready(SkinnyProducts.tokenTiles(passes.get(i).tokens().length), int8 || int8(passes.get(i)))
            ? Integer.MAX_VALUE : 0;
        case DECODE, RAGGED_FEW -> SkinnyProducts.MAX_TOKENS;
        case RAGGED_MANY, PREFILL -> BATCH_TOKENS;
      };
      int own = passes.get(i).tokens().length;
      if (batch.isEmpty() || ways[batch.getFirst()] != ways[i] || tokens + own > most
          || passes.get(batch.getFirst()).layers() != passes.get(i).layers()) {
        batch = new ArrayList<>();
        batches.add(batch);
        tokens = 0;
        picked = 0;
        int8 = false;
      }
      batch.add(i);
      int8 |= int8(passes.get(i));
      tokens += own;
      picked += picked(passes.get(i));
    }
    return batches;
  }
}
