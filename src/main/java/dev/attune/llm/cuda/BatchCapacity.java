package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.util.List;

/**
 * How many of each kind a {@link BatchPlan} has room for, or a batch needs.
 *
 * @param spans segments of context and own tokens
 * @param keys rows of the key table: for each sequence its context and its own tokens
 */
record BatchCapacity(int rows, int sequences, int items, int spans, long keys) {

  /**
   * What some sequences need.
   *
   * @param smallestPart fewest keys of a part of a split context
   */
  static BatchCapacity of(
      ModelConfig config, List<BatchPlan.Sequence> batch, Kernels.Attention attention, int smallestPart) {
    int rows = 0;
    int items = 0;
    int spans = 0;
    long keys = 0;
    for (BatchPlan.Sequence s : batch) {
      int tokens = s.tokens().length;
      rows += tokens;
      items += AttentionCut.rowTiles(config, s, attention)
          * AttentionCut.of(config, s, attention, smallestPart).parts();
      spans += s.context().size() + 1;
      keys += s.contextTokens() + tokens;
    }
    return new BatchCapacity(rows, batch.size(), items, spans, keys);
  }

  boolean holds(BatchCapacity other) {
    return rows >= other.rows && sequences >= other.sequences && items >= other.items && spans >= other.spans
        && keys >= other.keys;
  }

  /** Room for both; of what was too little, twice as much at least. */
  BatchCapacity grownTo(BatchCapacity other) {
    return new BatchCapacity(grown(rows, other.rows), grown(sequences, other.sequences), grown(items, other.items),
        grown(spans, other.spans), keys >= other.keys ? keys : Math.max(other.keys, 2 * keys));
  }

  private static int grown(int has, int needs) {
    return has >= needs ? has : Math.max(needs, Math.min(2 * has, Integer.MAX_VALUE / 4));
  }
}
