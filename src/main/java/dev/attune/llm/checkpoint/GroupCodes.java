package dev.attune.llm.checkpoint;

/**
 * A quantised matrix as it is in its file: {@code weight = scale * code + minimum}, with one scale and one minimum for
 * each group of consecutive weights of a row.
 */
public interface GroupCodes {

  /** Weights that share a scale; divides {@link WeightTensor#columns}. */
  int groupSize();

  /** 4 where all codes lie in 0 … 15, 8 where they lie in -128 … 127. */
  int bits();

  /** Whether minima occur; all are zero otherwise. */
  boolean hasMinima();

  /**
   * Reads one row.
   *
   * @param codes {@code [columns]}
   * @param scales {@code [columns / groupSize]}
   * @param minima {@code [columns / groupSize]}, left alone where there are none
   */
  void row(int row, byte[] codes, float[] scales, float[] minima);
}
