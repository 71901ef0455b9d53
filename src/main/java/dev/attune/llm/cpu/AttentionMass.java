package dev.attune.llm.cpu;

import java.util.Comparator;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/**
 * Puts together what single segments say about a softmax that runs over all of them: for each query row the maximum
 * {@code m} of a segment's logits, in units of log 2, and the sum {@code l} of {@code 2^(logit - m)}. The segment's
 * mass is {@code l 2^(m - M) / L}, with {@code M} the maximum and {@code L} the total over segments.
 *
 * <p>Each segment's numbers depend on nothing else, the maximum is exact and the total is taken in the order of
 * content, so permuting the segments permutes the masses bit by bit.
 */
final class AttentionMass {

  private final List<CpuKvSegment> segments;
  private final int rows;
  /** {@code [segment][head * rows + row]}. */
  private final float[][] maxima;
  private final float[][] sums;

  /**
   * Makes room.
   *
   * @param rows query rows of one KV head
   */
  AttentionMass(List<CpuKvSegment> segments, int kvHeads, int rows) {
    this.segments = segments;
    this.rows = rows;
    maxima = new float[segments.size()][kvHeads * rows];
    sums = new float[segments.size()][kvHeads * rows];
  }

  /** Takes the numbers of {@code count} rows; different tasks may call this at once for different rows or segments. */
  void put(int segment, int head, int firstRow, float[] maximum, float[] sum, int count) {
    System.arraycopy(maximum, 0, maxima[segment], head * rows + firstRow, count);
    System.arraycopy(sum, 0, sums[segment], head * rows + firstRow, count);
  }

  /** Mean over heads and rows of each segment's mass. */
  float[] perSegment() {
    return means(row -> 0, 1);
  }

  /**
   * Mean over rows of each segment's mass, for each query head.
   *
   * @param group query heads of a KV head; they follow each other in its rows
   * @return {@code [head * segments + segment]}
   */
  float[] perHead(int group) {
    return means(row -> row / rows * group + row % rows % group, maxima[0].length / rows * group);
  }

  private float[] means(IntUnaryOperator groupOf, int groups) {
    int n = segments.size();
    int[] order = IntStream.range(0, n)
        .boxed()
        .sorted(Comparator.comparingLong(i -> segments.get(i).contentId()))
        .mapToInt(Integer::intValue)
        .toArray();
    int all = maxima[0].length;
    double[] mass = new double[groups * n];
    double[] part = new double[n];
    for (int row = 0; row < all; row++) {
      double maximum = Double.NEGATIVE_INFINITY;
      for (float[] m : maxima) {
        maximum = Math.max(maximum, m[row]);
      }
      double total = 0;
      for (int i : order) {
        part[i] = sums[i][row] * StrictMath.pow(2, maxima[i][row] - maximum);
        total += part[i];
      }
      int first = groupOf.applyAsInt(row) * n;
      for (int i = 0; i < n; i++) {
        mass[first + i] += part[i] / total;
      }
    }
    float[] result = new float[mass.length];
    for (int i = 0; i < mass.length; i++) {
      result[i] = (float) (mass[i] / (all / groups));
    }
    return result;
  }
}
