package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.GemmTiles.ROWS;
import static dev.attune.llm.cpu.GemmTiles.TILE;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import java.util.Arrays;

/**
 * Matrix products with packed weights: {@code c[row][output] += sum over i of a[row][i] * weight[output][i]}.
 *
 * <p>The sum of an output is taken in one order, whatever else is in the batch: in each group of inputs that share a
 * scale, {@code s = sum of a[i] * code[i]} by fused multiply-adds over ascending {@code i}; over ascending groups
 * {@code c += scale * s}; then {@code m = sum over groups of (sum of the group's a[i]) * minimum}, and {@code c += m}.
 * Weights without scales are one group with scale 1. A row's result so depends neither on its neighbours nor on their
 * number, though one row is multiplied by {@link RowProduct} straight from the packed codes, and more rows by tiles
 * that read codes unpacked to floats.
 */
final class Gemm {

  /** Outputs of a panel: four vectors, so that one row has four independent chains of additions. */
  static final int PANEL = 4 * WIDTH;
  /** Rows of one task, a multiple of every tile: with their codes they stay in a core's second-level cache. */
  static final int ROW_BLOCK = 192;
  /** Inputs that share a minimum. */
  static final int GROUP = 32;

  private static final float[] ONES = new float[PANEL];

  static {
    Arrays.fill(ONES, 1);
  }

  /** Unpacked weights of one panel; one per worker. */
  static final class Scratch {
    /** {@code [2 halves][inputs][TILE]}. */
    private float[] codes = {};
    /** {@code [groups][PANEL]}. */
    private float[] scales = {};
    /** {@code [2 halves][inputs / GROUP][TILE]}. */
    private float[] minima = {};
    /** {@code [groups][ROWS][TILE]}. */
    private float[] sums = {};
    /** {@code [ROW_BLOCK][PANEL]}, for the caller's use. */
    final float[] product = new float[ROW_BLOCK * PANEL];

    private void reserve(int inputs) {
      if (codes.length < inputs * PANEL) {
        codes = new float[inputs * PANEL];
        scales = new float[(inputs + 15) / 16 * PANEL];
        sums = new float[(inputs + 15) / 16 * ROWS * TILE];
        minima = new float[(inputs + GROUP - 1) / GROUP * PANEL];
      }
    }
  }

  private Gemm() {}

  /** Rounds up to whole panels. */
  static int padded(int count) {
    return (count + PANEL - 1) / PANEL * PANEL;
  }

  /** Floats from one row of inputs to the next: the inputs, and where {@link #sumGroups} leaves the sums of groups. */
  static int inputStride(int inputs) {
    return padded(inputs) + padded((inputs + GROUP - 1) / GROUP);
  }

  /** Must be called on each row of inputs before it is multiplied with weights that have minima. */
  static void sumGroups(float[] a, int offset, int inputs) {
    int to = offset + padded(inputs);
    for (int i = offset; i < offset + inputs; i += GROUP) {
      float s0 = 0;
      float s1 = 0;
      float s2 = 0;
      float s3 = 0;
      for (int j = i; j < i + GROUP; j += 4) {
        s0 += a[j];
        s1 += a[j + 1];
        s2 += a[j + 2];
        s3 += a[j + 3];
      }
      a[to++] = s0 + s1 + (s2 + s3);
    }
  }

  /**
   * Multiplies rows with one panel of weights and adds the result to {@code c}.
   *
   * @param a inputs, row {@code r} starts at {@code aOffset + r * aStride}
   * @param rows number of rows
   * @param c outputs, row {@code r} of the panel starts at {@code cOffset + r * cStride}
   */
  static void panel(
      float[] a, int aOffset, int aStride, int rows, PackedMatrix weights, int panel, float[] c, int cOffset,
      int cStride, Scratch scratch) {
    int inputs = weights.inputs;
    int sums = aOffset + padded(inputs);
    int groups = inputs / GROUP;
    if (rows == 1) {
      RowProduct.panel(a, aOffset, weights, panel, c, cOffset);
      return;
    }
    scratch.reserve(inputs);
    boolean scaled = weights.numbers.codes();
    Unpacking.codes(weights, panel, scratch.codes);
    if (scaled) {
      Unpacking.scales(weights, panel, scratch.scales);
    }
    if (weights.hasMinima) {
      Unpacking.floats(weights.data, weights.minimaOffset(panel), groups, scratch.minima);
    }
    float[] scales = scaled ? scratch.scales : ONES;
    for (int half = 0; half < PANEL; half += TILE) {
      GemmTiles.multiply(a, aOffset, aStride, rows, inputs, weights.group, scratch.codes, half * inputs, scales, half,
          c, cOffset + half, cStride, scratch.sums);
      if (weights.hasMinima) {
        GemmTiles.multiply(a, sums, aStride, rows, groups, groups, scratch.minima, half * groups, ONES, half, c,
            cOffset + half, cStride, scratch.sums);
      }
    }
  }
}
