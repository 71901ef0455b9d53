package dev.attune.llm;

/** Is shown where attention goes, one distribution at a time, from one thread. */
@FunctionalInterface
public interface AttentionVisitor {

  /**
   * Attention of one token.
   *
   * @param head query head
   * @param row index of the token
   * @param probabilities of the tokens 0 to {@code row}; the array is used again for the next call and may be longer
   */
  void attention(int layer, int head, int row, float[] probabilities);
}
