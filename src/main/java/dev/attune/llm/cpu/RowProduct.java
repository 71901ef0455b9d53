package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.INTS;
import static dev.attune.llm.cpu.Lanes.ORDER;
import static dev.attune.llm.cpu.Lanes.WIDTH;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * One row times one panel, straight from the packed weights: {@code c[PANEL] += a . weights} in the order that {@link
 * Gemm} prescribes. Decoding reads every weight once for each token, so its speed is that of memory and of taking words
 * apart.
 *
 * <p>As in {@link Gemm}, not even the smallest helper may be called: these methods are beyond the number of nodes up to
 * which the compiler inlines what is not marked for it as the Vector API's own methods are (measured: ten times
 * slower). Words are shifted one code at a time rather than each code from the word, or the compiler takes all codes of
 * four words out first and keeps them on the stack.
 */
final class RowProduct {

  /**
   * All memory, by address. Through a segment of a length that the compiler knows, a load costs no check of its bounds;
   * with checks, decoding takes about a third longer.
   */
  private static final MemorySegment MEMORY = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  /** Bytes of a vector, and of the same word of all outputs of a panel. */
  private static final int VECTOR = WIDTH * Float.BYTES;
  private static final int WORDS = 4 * VECTOR;

  private RowProduct() {}

  static void panel(float[] a, int a0, PackedMatrix weights, int panel, float[] c, int c0) {
    int inputs = weights.inputs;
    long at = weights.data.address() + weights.panelOffset(panel);
    switch (weights.numbers) {
      case F32 -> floats(a, a0, inputs, at, c, c0);
      case BF16 -> halves(a, a0, inputs, at, c, c0);
      case INT8 -> bytes(a, a0, inputs, weights.group, at, c, c0);
      case INT4 -> nibbles(a, a0, inputs, weights.group, at, c, c0);
    }
    if (weights.hasMinima) {
      int sums = a0 + Gemm.padded(inputs);
      floats(a, sums, inputs / Gemm.GROUP, weights.data.address() + weights.minimaOffset(panel), c, c0);
    }
    Reference.reachabilityFence(weights.data);
  }

  /** f32, {@code [inputs][PANEL]}. */
  private static void floats(float[] a, int a0, int inputs, long at, float[] c, int c0) {
    FloatVector s0 = FloatVector.zero(FLOATS);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    for (int i = a0; i < a0 + inputs; i += 1) {
      FloatVector w0 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER);
      FloatVector w1 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + VECTOR, ORDER);
      FloatVector w2 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2 * VECTOR, ORDER);
      FloatVector w3 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3 * VECTOR, ORDER);
      at += WORDS;
      FloatVector x = FloatVector.broadcast(FLOATS, a[i]);
      s0 = x.fma(w0, s0);
      s1 = x.fma(w1, s1);
      s2 = x.fma(w2, s2);
      s3 = x.fma(w3, s3);
    }
    s0.add(FloatVector.fromArray(FLOATS, c, c0)).intoArray(c, c0);
    s1.add(FloatVector.fromArray(FLOATS, c, c0 + WIDTH)).intoArray(c, c0 + WIDTH);
    s2.add(FloatVector.fromArray(FLOATS, c, c0 + 2 * WIDTH)).intoArray(c, c0 + 2 * WIDTH);
    s3.add(FloatVector.fromArray(FLOATS, c, c0 + 3 * WIDTH)).intoArray(c, c0 + 3 * WIDTH);
  }

  /** bf16, two inputs a word. */
  private static void halves(float[] a, int a0, int inputs, long at, float[] c, int c0) {
    FloatVector s0 = FloatVector.zero(FLOATS);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    for (int i = a0; i < a0 + inputs; i += 2) {
      IntVector w0 = IntVector.fromMemorySegment(INTS, MEMORY, at, ORDER);
      IntVector w1 = IntVector.fromMemorySegment(INTS, MEMORY, at + VECTOR, ORDER);
      IntVector w2 = IntVector.fromMemorySegment(INTS, MEMORY, at + 2 * VECTOR, ORDER);
      IntVector w3 = IntVector.fromMemorySegment(INTS, MEMORY, at + 3 * VECTOR, ORDER);
      at += WORDS;
      FloatVector x = FloatVector.broadcast(FLOATS, a[i]);
      s0 = x.fma(w0.lanewise(LSHL, 16).reinterpretAsFloats(), s0);
      s1 = x.fma(w1.lanewise(LSHL, 16).reinterpretAsFloats(), s1);
      s2 = x.fma(w2.lanewise(LSHL, 16).reinterpretAsFloats(), s2);
      s3 = x.fma(w3.lanewise(LSHL, 16).reinterpretAsFloats(), s3);
      x = FloatVector.broadcast(FLOATS, a[i + 1]);
      s0 = x.fma(w0.and(0xffff0000).reinterpretAsFloats(), s0);
      s1 = x.fma(w1.and(0xffff0000).reinterpretAsFloats(), s1);
      s2 = x.fma(w2.and(0xffff0000).reinterpretAsFloats(), s2);
      s3 = x.fma(w3.and(0xffff0000).reinterpretAsFloats(), s3);
    }
    s0.add(FloatVector.fromArray(FLOATS, c, c0)).intoArray(c, c0);
    s1.add(FloatVector.fromArray(FLOATS, c, c0 + WIDTH)).intoArray(c, c0 + WIDTH);
    s2.add(FloatVector.fromArray(FLOATS, c, c0 + 2 * WIDTH)).intoArray(c, c0 + 2 * WIDTH);
    s3.add(FloatVector.fromArray(FLOATS, c, c0 + 3 * WIDTH)).intoArray(c, c0 + 3 * WIDTH);
  }

  /** int8, four inputs a word. */
  private static void bytes(
      float[] a, int a0, int inputs, int group, long at, float[] c, int c0) {
    FloatVector t0 = FloatVector.fromArray(FLOATS, c, c0);
    FloatVector t1 = FloatVector.fromArray(FLOATS, c, c0 + WIDTH);
    FloatVector t2 = FloatVector.fromArray(FLOATS, c, c0 + 2 * WIDTH);
    FloatVector t3 = FloatVector.fromArray(FLOATS, c, c0 + 3 * WIDTH);
    for (int first = a0; first < a0 + inputs; first += group) {
      FloatVector d0 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER);
      FloatVector d1 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + VECTOR, ORDER);
      FloatVector d2 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2 * VECTOR, ORDER);
      FloatVector d3 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3 * VECTOR, ORDER);
      at += WORDS;
      FloatVector s0 = FloatVector.zero(FLOATS);
      FloatVector s1 = s0;
      FloatVector s2 = s0;
      FloatVector s3 = s0;
      for (int i = first; i < first + group; i += 4) {
        IntVector w0 = IntVector.fromMemorySegment(INTS, MEMORY, at, ORDER);
        IntVector w1 = IntVector.fromMemorySegment(INTS, MEMORY, at + VECTOR, ORDER);
        IntVector w2 = IntVector.fromMemorySegment(INTS, MEMORY, at + 2 * VECTOR, ORDER);
        IntVector w3 = IntVector.fromMemorySegment(INTS, MEMORY, at + 3 * VECTOR, ORDER);
        at += WORDS;
        FloatVector x = FloatVector.broadcast(FLOATS, a[i]);
        s0 = x.fma((FloatVector) w0.lanewise(LSHL, 24).lanewise(ASHR, 24).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.lanewise(LSHL, 24).lanewise(ASHR, 24).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.lanewise(LSHL, 24).lanewise(ASHR, 24).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.lanewise(LSHL, 24).lanewise(ASHR, 24).convert(I2F, 0), s3);
        x = FloatVector.broadcast(FLOATS, a[i + 1]);
        s0 = x.fma((FloatVector) w0.lanewise(LSHL, 16).lanewise(ASHR, 24).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.lanewise(LSHL, 16).lanewise(ASHR, 24).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.lanewise(LSHL, 16).lanewise(ASHR, 24).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.lanewise(LSHL, 16).lanewise(ASHR, 24).convert(I2F, 0), s3);
        x = FloatVector.broadcast(FLOATS, a[i + 2]);
        s0 = x.fma((FloatVector) w0.lanewise(LSHL, 8).lanewise(ASHR, 24).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.lanewise(LSHL, 8).lanewise(ASHR, 24).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.lanewise(LSHL, 8).lanewise(ASHR, 24).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.lanewise(LSHL, 8).lanewise(ASHR, 24).convert(I2F, 0), s3);
        x = FloatVector.broadcast(FLOATS, a[i + 3]);
        s0 = x.fma((FloatVector) w0.lanewise(ASHR, 24).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.lanewise(ASHR, 24).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.lanewise(ASHR, 24).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.lanewise(ASHR, 24).convert(I2F, 0), s3);
      }
      t0 = s0.fma(d0, t0);
      t1 = s1.fma(d1, t1);
      t2 = s2.fma(d2, t2);
      t3 = s3.fma(d3, t3);
    }
    t0.intoArray(c, c0);
    t1.intoArray(c, c0 + WIDTH);
    t2.intoArray(c, c0 + 2 * WIDTH);
    t3.intoArray(c, c0 + 3 * WIDTH);
  }

  /** Four bits, eight inputs a word. */
  private static void nibbles(
      float[] a, int a0, int inputs, int group, long at, float[] c, int c0) {
    FloatVector t0 = FloatVector.fromArray(FLOATS, c, c0);
    FloatVector t1 = FloatVector.fromArray(FLOATS, c, c0 + WIDTH);
    FloatVector t2 = FloatVector.fromArray(FLOATS, c, c0 + 2 * WIDTH);
    FloatVector t3 = FloatVector.fromArray(FLOATS, c, c0 + 3 * WIDTH);
    for (int first = a0; first < a0 + inputs; first += group) {
      FloatVector d0 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at, ORDER);
      FloatVector d1 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + VECTOR, ORDER);
      FloatVector d2 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 2 * VECTOR, ORDER);
      FloatVector d3 = FloatVector.fromMemorySegment(FLOATS, MEMORY, at + 3 * VECTOR, ORDER);
      at += WORDS;
      FloatVector s0 = FloatVector.zero(FLOATS);
      FloatVector s1 = s0;
      FloatVector s2 = s0;
      FloatVector s3 = s0;
      for (int i = first; i < first + group; i += 8) {
        IntVector w0 = IntVector.fromMemorySegment(INTS, MEMORY, at, ORDER);
        IntVector w1 = IntVector.fromMemorySegment(INTS, MEMORY, at + VECTOR, ORDER);
        IntVector w2 = IntVector.fromMemorySegment(INTS, MEMORY, at + 2 * VECTOR, ORDER);
        IntVector w3 = IntVector.fromMemorySegment(INTS, MEMORY, at + 3 * VECTOR, ORDER);
        at += WORDS;
        FloatVector x = FloatVector.broadcast(FLOATS, a[i]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 1]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 2]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 3]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 4]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 5]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 6]);
        s0 = x.fma((FloatVector) w0.and(15).convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.and(15).convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.and(15).convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.and(15).convert(I2F, 0), s3);
        w0 = w0.lanewise(LSHR, 4);
        w1 = w1.lanewise(LSHR, 4);
        w2 = w2.lanewise(LSHR, 4);
        w3 = w3.lanewise(LSHR, 4);
        x = FloatVector.broadcast(FLOATS, a[i + 7]);
        s0 = x.fma((FloatVector) w0.convert(I2F, 0), s0);
        s1 = x.fma((FloatVector) w1.convert(I2F, 0), s1);
        s2 = x.fma((FloatVector) w2.convert(I2F, 0), s2);
        s3 = x.fma((FloatVector) w3.convert(I2F, 0), s3);
      }
      t0 = s0.fma(d0, t0);
      t1 = s1.fma(d1, t1);
      t2 = s2.fma(d2, t2);
      t3 = s3.fma(d3, t3);
    }
    t0.intoArray(c, c0);
    t1.intoArray(c, c0 + WIDTH);
    t2.intoArray(c, c0 + 2 * WIDTH);
    t3.intoArray(c, c0 + 3 * WIDTH);
  }
}
