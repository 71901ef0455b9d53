package dev.attune.llm;

/** A backend that can show where attention goes: for calibration and analysis, not for speed. */
public interface AttentionInspector {

  /**
   * Runs tokens as one causal sequence from position 0 through all layers and shows the attention of some of them.
   *
   * @param rows indices of the tokens whose attention is wanted
   * @throws IllegalArgumentException when a token, a row or the length is out of range
   */
  void inspect(int[] tokens, int[] rows, Visitor visitor);

  /** Is shown one distribution at a time, from one thread. */
  @FunctionalInterface
  interface Visitor {

    /**
     * Attention of one token.
     *
     * @param head query head
     * @param row index of the token
     * @param probabilities of the tokens 0 to {@code row}; the array is used again for the next call and may be longer
     */
    void attention(int layer, int head, int row, float[] probabilities);
  }
}
