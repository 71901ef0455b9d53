package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;

/**
 * How the keys of a sequence are cut for attention, which depends on that sequence alone.
 *
 * @param keys of a part
 * @param parts of the sequence
 */
record AttentionCut(int keys, int parts) {

  /**
   * The cut of one sequence.
   *
   * @param smallestPart fewest keys of a part
   */
  static AttentionCut of(
      ModelConfig config, BatchPlan.Sequence s, Kernels.Attention attention, int smallestPart) {
    int keys = s.contextTokens() + s.tokens().length;
    // No more than run at once: a few more would take as long as twice as many.
    int parts = Math.max(1, attention.atOnce() / (rowTiles(config, s, attention) * config.kvHeads()));
    int part = roundUp(Math.max(smallestPart, quotient(keys, parts)), Kernels.KEY_TILE);
    return new AttentionCut(part, quotient(keys, part));
  }

  /** Tiles of a sequence's packed rows. */
  static int rowTiles(ModelConfig config, BatchPlan.Sequence s, Kernels.Attention attention) {
    return quotient(s.tokens().length * (config.heads() / config.kvHeads()), attention.tileRows());
  }

  private static int quotient(int a, int b) {
    return (a + b - 1) / b;
  }

  private static int roundUp(int a, int b) {
    return quotient(a, b) * b;
  }
}
