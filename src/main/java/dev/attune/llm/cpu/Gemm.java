package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * Matrix products with packed weights: {@code c[row][output] += sum over i of a[row][i] * weight[output][i]}.
 *
 * <p>The sum of an output is taken in one order, whatever else is in the batch: in each group of inputs that share a
 * scale, {@code s = sum of a[i] * code[i]} by fused multiply-adds over ascending {@code i}; over ascending groups {@code
 * c += scale * s}; then {@code m = sum over groups of (sum of the group's a[i]) * minimum}, and {@code c += m}. Weights
 * without scales are one group with scale 1. A row's result so depends neither on its neighbours nor on their number,
 * though one row is multiplied by {@link RowProduct} straight from the packed codes, and more rows by tiles that read
 * codes unpacked to floats.
 *
 * <p>The tiles call the Vector API and nothing else: a helper of ours that the compiler declines to inline into a
 * method of this size would have its vector arguments, the accumulators, live as objects (measured: four times slower).
 */
final class Gemm {

  /** Outputs of a panel: four vectors, so that one row has four independent chains of additions. */
  static final int PANEL = 4 * WIDTH;
  /** Rows of one task, a multiple of every tile: with their codes they stay in a core's second-level cache. */
  static final int ROW_BLOCK = 192;
  /** Inputs that share a minimum. */
  static final int GROUP = 32;

  /** Outputs of a tile: two vectors. */
  private static final int TILE = 2 * WIDTH;
  /**
   * Whether there are 32 vector registers, so that tiles of eight rows do not spill. Of 16, the compiler's scheduling
   * leaves room for 8 accumulators: tiles of six rows are 0.66–0.85 times as fast as those of four.
   */
  private static final boolean MANY_REGISTERS =
      FLOATS.vectorBitSize() == 512 || System.getProperty("os.arch").equals("aarch64");
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
    /** {@code [ROW_BLOCK][PANEL]}, for the caller's use. */
    final float[] product = new float[ROW_BLOCK * PANEL];

    private void reserve(int inputs) {
      if (codes.length < inputs * PANEL) {
        codes = new float[inputs * PANEL];
        scales = new float[(inputs + 15) / 16 * PANEL];
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
      tiles(a, aOffset, aStride, rows, inputs, weights.group, scratch.codes, half * inputs, scales, half, c,
          cOffset + half, cStride);
      if (weights.hasMinima) {
        tiles(a, sums, aStride, rows, groups, groups, scratch.minima, half * groups, ONES, half, c, cOffset + half,
            cStride);
      }
    }
  }

  /** {@code c[row][TILE] += a[row] . b}, with the scales of the tile from {@code scale} on. */
  private static void tiles(
      float[] a, int aOffset, int aStride, int rows, int inputs, int group, float[] b, int b0, float[] scales,
      int scale, float[] c, int cOffset, int cStride) {
    int row = 0;
    for (; MANY_REGISTERS && row + 8 <= rows; row += 8) {
      tile8(a, aOffset + row * aStride, aStride, inputs, group, b, b0, scales, scale, c, cOffset + row * cStride,
          cStride);
    }
    for (; row + 4 <= rows; row += 4) {
      tile4(a, aOffset + row * aStride, aStride, inputs, group, b, b0, scales, scale, c, cOffset + row * cStride,
          cStride);
    }
    for (; row + 2 <= rows; row += 2) {
      tile2(a, aOffset + row * aStride, aStride, inputs, group, b, b0, scales, scale, c, cOffset + row * cStride,
          cStride);
    }
    if (row < rows) {
      tile1(a, aOffset + row * aStride, aStride, inputs, group, b, b0, scales, scale, c, cOffset + row * cStride,
          cStride);
    }
  }

  private static void tile8(
      float[] a, int a0, int aStride, int inputs, int group, float[] b, int b0, float[] scales, int scale, float[] c,
      int c0, int cStride) {
    int a1 = a0 + aStride;
    int a2 = a1 + aStride;
    int a3 = a2 + aStride;
    int a4 = a3 + aStride;
    int a5 = a4 + aStride;
    int a6 = a5 + aStride;
    int a7 = a6 + aStride;
    int c1 = c0 + cStride;
    int c2 = c1 + cStride;
    int c3 = c2 + cStride;
    int c4 = c3 + cStride;
    int c5 = c4 + cStride;
    int c6 = c5 + cStride;
    int c7 = c6 + cStride;
    for (int first = 0; first < inputs; first += group) {
      FloatVector s00 = FloatVector.zero(FLOATS);
      FloatVector s01 = s00;
      FloatVector s10 = s00;
      FloatVector s11 = s00;
      FloatVector s20 = s00;
      FloatVector s21 = s00;
      FloatVector s30 = s00;
      FloatVector s31 = s00;
      FloatVector s40 = s00;
      FloatVector s41 = s00;
      FloatVector s50 = s00;
      FloatVector s51 = s00;
      FloatVector s60 = s00;
      FloatVector s61 = s00;
      FloatVector s70 = s00;
      FloatVector s71 = s00;
      int end = first + group;
      for (int i = first; i < end; i++) {
        FloatVector w0 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE);
        FloatVector w1 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE + WIDTH);
        FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
        s00 = x.fma(w0, s00);
        s01 = x.fma(w1, s01);
        x = FloatVector.broadcast(FLOATS, a[a1 + i]);
        s10 = x.fma(w0, s10);
        s11 = x.fma(w1, s11);
        x = FloatVector.broadcast(FLOATS, a[a2 + i]);
        s20 = x.fma(w0, s20);
        s21 = x.fma(w1, s21);
        x = FloatVector.broadcast(FLOATS, a[a3 + i]);
        s30 = x.fma(w0, s30);
        s31 = x.fma(w1, s31);
        x = FloatVector.broadcast(FLOATS, a[a4 + i]);
        s40 = x.fma(w0, s40);
        s41 = x.fma(w1, s41);
        x = FloatVector.broadcast(FLOATS, a[a5 + i]);
        s50 = x.fma(w0, s50);
        s51 = x.fma(w1, s51);
        x = FloatVector.broadcast(FLOATS, a[a6 + i]);
        s60 = x.fma(w0, s60);
        s61 = x.fma(w1, s61);
        x = FloatVector.broadcast(FLOATS, a[a7 + i]);
        s70 = x.fma(w0, s70);
        s71 = x.fma(w1, s71);
      }
      FloatVector d0 = FloatVector.fromArray(FLOATS, scales, scale);
      FloatVector d1 = FloatVector.fromArray(FLOATS, scales, scale + WIDTH);
      s00.fma(d0, FloatVector.fromArray(FLOATS, c, c0)).intoArray(c, c0);
      s01.fma(d1, FloatVector.fromArray(FLOATS, c, c0 + WIDTH)).intoArray(c, c0 + WIDTH);
      s10.fma(d0, FloatVector.fromArray(FLOATS, c, c1)).intoArray(c, c1);
      s11.fma(d1, FloatVector.fromArray(FLOATS, c, c1 + WIDTH)).intoArray(c, c1 + WIDTH);
      s20.fma(d0, FloatVector.fromArray(FLOATS, c, c2)).intoArray(c, c2);
      s21.fma(d1, FloatVector.fromArray(FLOATS, c, c2 + WIDTH)).intoArray(c, c2 + WIDTH);
      s30.fma(d0, FloatVector.fromArray(FLOATS, c, c3)).intoArray(c, c3);
      s31.fma(d1, FloatVector.fromArray(FLOATS, c, c3 + WIDTH)).intoArray(c, c3 + WIDTH);
      s40.fma(d0, FloatVector.fromArray(FLOATS, c, c4)).intoArray(c, c4);
      s41.fma(d1, FloatVector.fromArray(FLOATS, c, c4 + WIDTH)).intoArray(c, c4 + WIDTH);
      s50.fma(d0, FloatVector.fromArray(FLOATS, c, c5)).intoArray(c, c5);
      s51.fma(d1, FloatVector.fromArray(FLOATS, c, c5 + WIDTH)).intoArray(c, c5 + WIDTH);
      s60.fma(d0, FloatVector.fromArray(FLOATS, c, c6)).intoArray(c, c6);
      s61.fma(d1, FloatVector.fromArray(FLOATS, c, c6 + WIDTH)).intoArray(c, c6 + WIDTH);
      s70.fma(d0, FloatVector.fromArray(FLOATS, c, c7)).intoArray(c, c7);
      s71.fma(d1, FloatVector.fromArray(FLOATS, c, c7 + WIDTH)).intoArray(c, c7 + WIDTH);
      scale += PANEL;
    }
  }

  private static void tile4(
      float[] a, int a0, int aStride, int inputs, int group, float[] b, int b0, float[] scales, int scale, float[] c,
      int c0, int cStride) {
    int a1 = a0 + aStride;
    int a2 = a1 + aStride;
    int a3 = a2 + aStride;
    int c1 = c0 + cStride;
    int c2 = c1 + cStride;
    int c3 = c2 + cStride;
    for (int first = 0; first < inputs; first += group) {
      FloatVector s00 = FloatVector.zero(FLOATS);
      FloatVector s01 = s00;
      FloatVector s10 = s00;
      FloatVector s11 = s00;
      FloatVector s20 = s00;
      FloatVector s21 = s00;
      FloatVector s30 = s00;
      FloatVector s31 = s00;
      int end = first + group;
      for (int i = first; i < end; i++) {
        FloatVector w0 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE);
        FloatVector w1 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE + WIDTH);
        FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
        s00 = x.fma(w0, s00);
        s01 = x.fma(w1, s01);
        x = FloatVector.broadcast(FLOATS, a[a1 + i]);
        s10 = x.fma(w0, s10);
        s11 = x.fma(w1, s11);
        x = FloatVector.broadcast(FLOATS, a[a2 + i]);
        s20 = x.fma(w0, s20);
        s21 = x.fma(w1, s21);
        x = FloatVector.broadcast(FLOATS, a[a3 + i]);
        s30 = x.fma(w0, s30);
        s31 = x.fma(w1, s31);
      }
      FloatVector d0 = FloatVector.fromArray(FLOATS, scales, scale);
      FloatVector d1 = FloatVector.fromArray(FLOATS, scales, scale + WIDTH);
      s00.fma(d0, FloatVector.fromArray(FLOATS, c, c0)).intoArray(c, c0);
      s01.fma(d1, FloatVector.fromArray(FLOATS, c, c0 + WIDTH)).intoArray(c, c0 + WIDTH);
      s10.fma(d0, FloatVector.fromArray(FLOATS, c, c1)).intoArray(c, c1);
      s11.fma(d1, FloatVector.fromArray(FLOATS, c, c1 + WIDTH)).intoArray(c, c1 + WIDTH);
      s20.fma(d0, FloatVector.fromArray(FLOATS, c, c2)).intoArray(c, c2);
      s21.fma(d1, FloatVector.fromArray(FLOATS, c, c2 + WIDTH)).intoArray(c, c2 + WIDTH);
      s30.fma(d0, FloatVector.fromArray(FLOATS, c, c3)).intoArray(c, c3);
      s31.fma(d1, FloatVector.fromArray(FLOATS, c, c3 + WIDTH)).intoArray(c, c3 + WIDTH);
      scale += PANEL;
    }
  }

  private static void tile2(
      float[] a, int a0, int aStride, int inputs, int group, float[] b, int b0, float[] scales, int scale, float[] c,
      int c0, int cStride) {
    int a1 = a0 + aStride;
    int c1 = c0 + cStride;
    for (int first = 0; first < inputs; first += group) {
      FloatVector s00 = FloatVector.zero(FLOATS);
      FloatVector s01 = s00;
      FloatVector s10 = s00;
      FloatVector s11 = s00;
      int end = first + group;
      for (int i = first; i < end; i++) {
        FloatVector w0 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE);
        FloatVector w1 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE + WIDTH);
        FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
        s00 = x.fma(w0, s00);
        s01 = x.fma(w1, s01);
        x = FloatVector.broadcast(FLOATS, a[a1 + i]);
        s10 = x.fma(w0, s10);
        s11 = x.fma(w1, s11);
      }
      FloatVector d0 = FloatVector.fromArray(FLOATS, scales, scale);
      FloatVector d1 = FloatVector.fromArray(FLOATS, scales, scale + WIDTH);
      s00.fma(d0, FloatVector.fromArray(FLOATS, c, c0)).intoArray(c, c0);
      s01.fma(d1, FloatVector.fromArray(FLOATS, c, c0 + WIDTH)).intoArray(c, c0 + WIDTH);
      s10.fma(d0, FloatVector.fromArray(FLOATS, c, c1)).intoArray(c, c1);
      s11.fma(d1, FloatVector.fromArray(FLOATS, c, c1 + WIDTH)).intoArray(c, c1 + WIDTH);
      scale += PANEL;
    }
  }

  private static void tile1(
      float[] a, int a0, int aStride, int inputs, int group, float[] b, int b0, float[] scales, int scale, float[] c,
      int c0, int cStride) {
    for (int first = 0; first < inputs; first += group) {
      FloatVector s00 = FloatVector.zero(FLOATS);
      FloatVector s01 = s00;
      int end = first + group;
      for (int i = first; i < end; i++) {
        FloatVector w0 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE);
        FloatVector w1 = FloatVector.fromArray(FLOATS, b, b0 + i * TILE + WIDTH);
        FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
        s00 = x.fma(w0, s00);
        s01 = x.fma(w1, s01);
      }
      FloatVector d0 = FloatVector.fromArray(FLOATS, scales, scale);
      FloatVector d1 = FloatVector.fromArray(FLOATS, scales, scale + WIDTH);
      s00.fma(d0, FloatVector.fromArray(FLOATS, c, c0)).intoArray(c, c0);
      s01.fma(d1, FloatVector.fromArray(FLOATS, c, c0 + WIDTH)).intoArray(c, c0 + WIDTH);
      scale += PANEL;
    }
  }
}
