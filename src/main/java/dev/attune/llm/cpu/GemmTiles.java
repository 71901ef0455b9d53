package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Gemm.PANEL;
import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import jdk.incubator.vector.FloatVector;

/**
 * The inner products of {@link Gemm}: a few rows with one tile of outputs.
 *
 * <p>They call the Vector API and nothing else: a helper of ours that the compiler declines to inline into a method of
 * this size would have its vector arguments, the accumulators, live as objects (measured: four times slower).
 */
final class GemmTiles {

  /** Outputs of a tile: two vectors. */
  static final int TILE = 2 * WIDTH;
  /** Rows of a tile for 16 vector registers: twelve accumulators, two vectors of weights, a broadcast. */
  static final int ROWS = 6;
  /**
   * Whether there are 32 vector registers, so that tiles of eight rows do not spill. With 16, six rows do not spill if
   * the method has one loop and no other work: with the loop over groups in it the compiler moves broadcasts up, and it
   * is 0.7 times as fast as four rows instead of 1.15 times.
   */
  private static final boolean MANY_REGISTERS =
      FLOATS.vectorBitSize() == 512 || System.getProperty("os.arch").equals("aarch64");

  private GemmTiles() {}

  /** {@code c[row][TILE] += a[row] . b}, with the scales of the tile from {@code scale} on. */
  static void multiply(
      float[] a, int aOffset, int aStride, int rows, int inputs, int group, float[] b, int b0, float[] scales,
      int scale, float[] c, int cOffset, int cStride, float[] sums) {
    int row = 0;
    for (; MANY_REGISTERS && row + 8 <= rows; row += 8) {
      tile8(a, aOffset + row * aStride, aStride, inputs, group, b, b0, scales, scale, c, cOffset + row * cStride,
          cStride);
    }
    for (; !MANY_REGISTERS && row + ROWS <= rows; row += ROWS) {
      for (int first = 0, at = 0; first < inputs; first += group, at += ROWS * TILE) {
        sums6(a, aOffset + row * aStride + first, aStride, b, b0 + first * TILE, group, sums, at);
      }
      for (int half = 0; half < ROWS; half += ROWS / 2) {
        addScaled3(sums, half * TILE, inputs / group, scales, scale, c, cOffset + (row + half) * cStride, cStride);
      }
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

  /** Sums of one group for six rows, {@code [6][TILE]}. */
  private static void sums6(float[] a, int a0, int aStride, float[] b, int b0, int count, float[] sums, int at) {
    int a1 = a0 + aStride;
    int a2 = a1 + aStride;
    int a3 = a2 + aStride;
    int a4 = a3 + aStride;
    int a5 = a4 + aStride;
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
    for (int i = 0; i < count; i++) {
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
    }
    s00.intoArray(sums, at);
    s01.intoArray(sums, at + WIDTH);
    s10.intoArray(sums, at + 2 * WIDTH);
    s11.intoArray(sums, at + 3 * WIDTH);
    s20.intoArray(sums, at + 4 * WIDTH);
    s21.intoArray(sums, at + 5 * WIDTH);
    s30.intoArray(sums, at + 6 * WIDTH);
    s31.intoArray(sums, at + 7 * WIDTH);
    s40.intoArray(sums, at + 8 * WIDTH);
    s41.intoArray(sums, at + 9 * WIDTH);
    s50.intoArray(sums, at + 10 * WIDTH);
    s51.intoArray(sums, at + 11 * WIDTH);
  }

  /** {@code c += scales * sums}, group by group; three rows are six independent chains. */
  private static void addScaled3(
      float[] sums, int from, int groups, float[] scales, int scale, float[] c, int c0, int cStride) {
    int c1 = c0 + cStride;
    int c2 = c1 + cStride;
    FloatVector s00 = FloatVector.fromArray(FLOATS, c, c0);
    FloatVector s01 = FloatVector.fromArray(FLOATS, c, c0 + WIDTH);
    FloatVector s10 = FloatVector.fromArray(FLOATS, c, c1);
    FloatVector s11 = FloatVector.fromArray(FLOATS, c, c1 + WIDTH);
    FloatVector s20 = FloatVector.fromArray(FLOATS, c, c2);
    FloatVector s21 = FloatVector.fromArray(FLOATS, c, c2 + WIDTH);
    for (int g = 0; g < groups; g++) {
      int at = from + g * ROWS * TILE;
      FloatVector d0 = FloatVector.fromArray(FLOATS, scales, scale + g * PANEL);
      FloatVector d1 = FloatVector.fromArray(FLOATS, scales, scale + g * PANEL + WIDTH);
      s00 = FloatVector.fromArray(FLOATS, sums, at).fma(d0, s00);
      s01 = FloatVector.fromArray(FLOATS, sums, at + WIDTH).fma(d1, s01);
      s10 = FloatVector.fromArray(FLOATS, sums, at + 2 * WIDTH).fma(d0, s10);
      s11 = FloatVector.fromArray(FLOATS, sums, at + 3 * WIDTH).fma(d1, s11);
      s20 = FloatVector.fromArray(FLOATS, sums, at + 4 * WIDTH).fma(d0, s20);
      s21 = FloatVector.fromArray(FLOATS, sums, at + 5 * WIDTH).fma(d1, s21);
    }
    s00.intoArray(c, c0);
    s01.intoArray(c, c0 + WIDTH);
    s10.intoArray(c, c1);
    s11.intoArray(c, c1 + WIDTH);
    s20.intoArray(c, c2);
    s21.intoArray(c, c2 + WIDTH);
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
