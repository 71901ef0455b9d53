package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.ORDER;
import static dev.attune.llm.cpu.Lanes.PANEL;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;

/**
 * Matrix products with packed weights: {@code c[row][output] = sum over i of a[row][i] * weight[output][i]}.
 *
 * <p>One output is always accumulated over {@code i} in ascending order by fused multiply-adds, however many rows are
 * computed together, so a row's result does not depend on its neighbours.
 *
 * <p>The tiles call the Vector API and nothing else: a helper of ours that the compiler declines to inline into a
 * method of this size would have its vector arguments, the accumulators, live as objects (measured: four times slower).
 */
final class Gemm {

  /** Rows of one task: the inputs of a task (256 x 576 floats: 590 KB) stay in a core's second-level cache. */
  static final int ROW_BLOCK = 256;

  private Gemm() {}

  /**
   * Multiplies rows with one panel of weights.
   *
   * @param a inputs, row {@code r} starts at {@code aOffset + r * aStride}
   * @param rows number of rows
   * @param c outputs, row {@code r} of the panel starts at {@code cOffset + r * cStride}
   */
  static void panel(
      float[] a, int aOffset, int aStride, int rows, PackedMatrix weights, int panel, float[] c, int cOffset,
      int cStride) {
    long offset = weights.panelOffset(panel);
    int inputs = weights.inputs;
    int row = 0;
    for (; row + 8 <= rows; row += 8) {
      tile8(a, aOffset + row * aStride, aStride, inputs, weights.data, offset, c, cOffset + row * cStride, cStride);
    }
    if (row + 4 <= rows) {
      tile4(a, aOffset + row * aStride, aStride, inputs, weights.data, offset, c, cOffset + row * cStride, cStride);
      row += 4;
    }
    for (; row < rows; row++) {
      tile1(a, aOffset + row * aStride, inputs, weights.data, offset, c, cOffset + row * cStride);
    }
  }

  private static void tile8(
      float[] a, int a0, int aStride, int inputs, MemorySegment b, long bOffset, float[] c, int c0, int cStride) {
    int a1 = a0 + aStride;
    int a2 = a1 + aStride;
    int a3 = a2 + aStride;
    int a4 = a3 + aStride;
    int a5 = a4 + aStride;
    int a6 = a5 + aStride;
    int a7 = a6 + aStride;
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
    for (int i = 0; i < inputs; i++) {
      long at = bOffset + (long) i * (PANEL * Float.BYTES);
      FloatVector b0 = FloatVector.fromMemorySegment(FLOATS, b, at, ORDER);
      FloatVector b1 = FloatVector.fromMemorySegment(FLOATS, b, at + WIDTH * Float.BYTES, ORDER);
      FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
      s00 = x.fma(b0, s00);
      s01 = x.fma(b1, s01);
      x = FloatVector.broadcast(FLOATS, a[a1 + i]);
      s10 = x.fma(b0, s10);
      s11 = x.fma(b1, s11);
      x = FloatVector.broadcast(FLOATS, a[a2 + i]);
      s20 = x.fma(b0, s20);
      s21 = x.fma(b1, s21);
      x = FloatVector.broadcast(FLOATS, a[a3 + i]);
      s30 = x.fma(b0, s30);
      s31 = x.fma(b1, s31);
      x = FloatVector.broadcast(FLOATS, a[a4 + i]);
      s40 = x.fma(b0, s40);
      s41 = x.fma(b1, s41);
      x = FloatVector.broadcast(FLOATS, a[a5 + i]);
      s50 = x.fma(b0, s50);
      s51 = x.fma(b1, s51);
      x = FloatVector.broadcast(FLOATS, a[a6 + i]);
      s60 = x.fma(b0, s60);
      s61 = x.fma(b1, s61);
      x = FloatVector.broadcast(FLOATS, a[a7 + i]);
      s70 = x.fma(b0, s70);
      s71 = x.fma(b1, s71);
    }
    s00.intoArray(c, c0);
    s01.intoArray(c, c0 + WIDTH);
    s10.intoArray(c, c0 + cStride);
    s11.intoArray(c, c0 + cStride + WIDTH);
    s20.intoArray(c, c0 + 2 * cStride);
    s21.intoArray(c, c0 + 2 * cStride + WIDTH);
    s30.intoArray(c, c0 + 3 * cStride);
    s31.intoArray(c, c0 + 3 * cStride + WIDTH);
    s40.intoArray(c, c0 + 4 * cStride);
    s41.intoArray(c, c0 + 4 * cStride + WIDTH);
    s50.intoArray(c, c0 + 5 * cStride);
    s51.intoArray(c, c0 + 5 * cStride + WIDTH);
    s60.intoArray(c, c0 + 6 * cStride);
    s61.intoArray(c, c0 + 6 * cStride + WIDTH);
    s70.intoArray(c, c0 + 7 * cStride);
    s71.intoArray(c, c0 + 7 * cStride + WIDTH);
  }

  private static void tile4(
      float[] a, int a0, int aStride, int inputs, MemorySegment b, long bOffset, float[] c, int c0, int cStride) {
    int a1 = a0 + aStride;
    int a2 = a1 + aStride;
    int a3 = a2 + aStride;
    FloatVector s00 = FloatVector.zero(FLOATS);
    FloatVector s01 = s00;
    FloatVector s10 = s00;
    FloatVector s11 = s00;
    FloatVector s20 = s00;
    FloatVector s21 = s00;
    FloatVector s30 = s00;
    FloatVector s31 = s00;
    for (int i = 0; i < inputs; i++) {
      long at = bOffset + (long) i * (PANEL * Float.BYTES);
      FloatVector b0 = FloatVector.fromMemorySegment(FLOATS, b, at, ORDER);
      FloatVector b1 = FloatVector.fromMemorySegment(FLOATS, b, at + WIDTH * Float.BYTES, ORDER);
      FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
      s00 = x.fma(b0, s00);
      s01 = x.fma(b1, s01);
      x = FloatVector.broadcast(FLOATS, a[a1 + i]);
      s10 = x.fma(b0, s10);
      s11 = x.fma(b1, s11);
      x = FloatVector.broadcast(FLOATS, a[a2 + i]);
      s20 = x.fma(b0, s20);
      s21 = x.fma(b1, s21);
      x = FloatVector.broadcast(FLOATS, a[a3 + i]);
      s30 = x.fma(b0, s30);
      s31 = x.fma(b1, s31);
    }
    s00.intoArray(c, c0);
    s01.intoArray(c, c0 + WIDTH);
    s10.intoArray(c, c0 + cStride);
    s11.intoArray(c, c0 + cStride + WIDTH);
    s20.intoArray(c, c0 + 2 * cStride);
    s21.intoArray(c, c0 + 2 * cStride + WIDTH);
    s30.intoArray(c, c0 + 3 * cStride);
    s31.intoArray(c, c0 + 3 * cStride + WIDTH);
  }

  private static void tile1(
      float[] a, int a0, int inputs, MemorySegment b, long bOffset, float[] c, int c0) {
    FloatVector s0 = FloatVector.zero(FLOATS);
    FloatVector s1 = s0;
    for (int i = 0; i < inputs; i++) {
      long at = bOffset + (long) i * (PANEL * Float.BYTES);
      FloatVector x = FloatVector.broadcast(FLOATS, a[a0 + i]);
      s0 = x.fma(FloatVector.fromMemorySegment(FLOATS, b, at, ORDER), s0);
      s1 = x.fma(FloatVector.fromMemorySegment(FLOATS, b, at + WIDTH * Float.BYTES, ORDER), s1);
    }
    s0.intoArray(c, c0);
    s1.intoArray(c, c0 + WIDTH);
  }
}
