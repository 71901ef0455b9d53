package dev.attune.llm.cpu;

import java.util.Comparator;
import java.util.List;
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

  /** The segments in the order of content, in which totals are taken. */
  private final int[] order;
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
    this.rows = rows;
    maxima = new float[segments.size()][kvHeads * rows];
    sums = new float[segments.size()][kvHeads * rows];
    order = IntStream.range(0, segments.size())
        .boxed()
        .sorted(Comparator.comparingLong(i -> segments.get(i).contentId()))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /** Takes the numbers of {@code count} rows; different tasks may call this at once for different rows or segments. */
  void put(int segment, int head, int firstRow, float[] maximum, float[] sum, int count) {
    System.arraycopy(maximum, 0, maxima[segment], head * rows + firstRow, count);
    System.arraycopy(sum, 0, sums[segment], head * rows + firstRow, count);
  }

  /** Mean over heads and rows of each segment's mass. */
  float[] perSegment() {
    int n = order.length;
    int all = maxima[0].length;
    double[] mass = new double[n];
    double[] part = new double[n];
    for (int row = 0; row < all; row++) {
      double maximum = maximum(row);
      double total = 0;
      for (int i : order) {
        part[i] = sums[i][row] * StrictMath.pow(2, maxima[i][row] - maximum);
        total += part[i];
      }
      for (int i = 0; i < n; i++) {
        mass[i] += part[i] / total;
      }
    }
    float[] result = new float[n];
    for (int i = 0; i < n; i++) {
      result[i] = (float) (mass[i] / all);
    }
    return result;
  }

  /**
   * Mean of each slot's mass over the rows of a query head, which follow each other in steps of {@code group} among
   * those of its KV head.
   *
   * @param logits of the slots of each segment, in units of log 2, {@code [segment][row][slot]} for the rows of the KV
   *     head
   * @param to where the first slot of the first segment goes; the others follow
   */
  void perSlot(int kvHead, int member, int group, float[][][] logits, float[] masses, int to) {
    int count = rows / group;
    for (int row = member; row < rows; row += group) {
      double maximum = maximum(kvHead * rows + row);
      double total = 0;
      for (int i : order) {
        total += sums[i][kvHead * rows + row] * StrictMath.pow(2, maxima[i][kvHead * rows + row] - maximum);
      }
      int at = to;
      for (float[][] ofSegment : logits) {
        for (float logit : ofSegment[row]) {
          masses[at++] += (float) (StrictMath.pow(2, logit - maximum) / total / count);
        }
      }
    }
  }

  private double maximum(int row) {
    double maximum = Double.NEGATIVE_INFINITY;
    for (float[] m : maxima) {
      maximum = Math.max(maximum, m[row]);
    }
    return maximum;
  }
}
