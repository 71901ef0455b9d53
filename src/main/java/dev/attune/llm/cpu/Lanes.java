package dev.attune.llm.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** Vector shapes and the elementwise functions of a transformer. Plain static functions: they must inline. */
final class Lanes {

  static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
  /** Half the width, as many lanes: bf16 beside f32. */
  static final VectorSpecies<Short> HALVES =
      VectorSpecies.of(short.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 2));
  /** A quarter of the width, as many lanes: int8 beside f32. More lanes where vectors have 128 bits only. */
  static final VectorSpecies<Byte> QUARTERS =
      VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, FLOATS.vectorBitSize() / 4)));
  /** Floats in one vector. */
  static final int WIDTH = FLOATS.length();
  /** Columns that one micro-kernel computes: two vectors. */
  static final int PANEL = 2 * WIDTH;

  static final ByteOrder ORDER = ByteOrder.nativeOrder();

  private static final float LOG2_E = 1.4426950408889634f;
  private static final float LN2_HIGH = 0.693359375f;
  private static final float LN2_LOW = -2.12194440e-4f;
  /** Adding 1.5 x 2^23 rounds to an integer and leaves it in the low mantissa bits. */
  private static final float ROUND = 12582912f;
  /** Bits of f32: 65,504, the smallest normal number of fp16, and infinity. */
  private static final int LARGEST_FP16 = 0x477fe000;
  private static final int SMALLEST_NORMAL_FP16 = 0x38800000;
  private static final int INFINITY = 0x7f800000;
  private static final float EXP_MIN = -87f;
  private static final float EXP_MAX = 88f;

  private Lanes() {}

  /** Rounds up to whole panels. */
  static int padded(int count) {
    return (count + PANEL - 1) / PANEL * PANEL;
  }

  /**
   * e^x, relative error below 2e-7; 0 below -87 (so for negative infinity too). Cephes' polynomial, built from exact
   * single operations, so interpreted and compiled code agree.
   */
  static FloatVector exp(FloatVector x) {
    FloatVector clamped = x.max(EXP_MIN).min(EXP_MAX);
    FloatVector shifted = clamped.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUND));
    FloatVector n = shifted.sub(ROUND);
    FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -LN2_HIGH), clamped);
    r = n.fma(FloatVector.broadcast(FLOATS, -LN2_LOW), r);
    FloatVector p = FloatVector.broadcast(FLOATS, 1.9875691500e-4f);
    p = p.fma(r, FloatVector.broadcast(FLOATS, 1.3981999507e-3f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 8.3334519073e-3f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 4.1665795894e-2f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 1.6666665459e-1f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 5.0000001201e-1f));
    p = p.fma(r.mul(r), r).add(1f);
    IntVector exponent = shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
    FloatVector result = p.reinterpretAsInts().add(exponent).reinterpretAsFloats();
    return result.blend(0f, x.lt(EXP_MIN));
  }

  /**
   * 2^x for x up to 127, relative error below 2e-7; exactly 0 for negative infinity, close to 0 below -126. Cephes'
   * polynomial.
   */
  static FloatVector exp2(FloatVector x) {
    FloatVector clamped = x.max(-127f);
    FloatVector shifted = clamped.add(ROUND);
    FloatVector r = clamped.sub(shifted.sub(ROUND));
    FloatVector p = FloatVector.broadcast(FLOATS, 1.535336188319500e-4f);
    p = p.fma(r, FloatVector.broadcast(FLOATS, 1.339887440266574e-3f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 9.618437357674640e-3f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 5.550332471162809e-2f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 2.402264791363012e-1f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 6.931472028550421e-1f));
    p = p.fma(r, FloatVector.broadcast(FLOATS, 1f));
    IntVector exponent = shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
    return p.reinterpretAsInts().add(exponent).reinterpretAsFloats();
  }

  /** {@code target[i] = silu(target[i]) * up[i]}, silu(x) = x / (1 + e^-x); {@code count} a multiple of the width. */
  static void swiGlu(float[] target, int offset, float[] up, int upOffset, int count) {
    for (int i = 0; i < count; i += WIDTH) {
      FloatVector x = FloatVector.fromArray(FLOATS, target, offset + i);
      FloatVector u = FloatVector.fromArray(FLOATS, up, upOffset + i);
      x.div(exp(x.neg()).add(1f)).mul(u).intoArray(target, offset + i);
    }
  }

  /** {@code target[i] += x[i]}; {@code count} a multiple of the width. */
  static void add(float[] target, int offset, float[] x, int xOffset, int count) {
    for (int i = 0; i < count; i += WIDTH) {
      FloatVector addend = FloatVector.fromArray(FLOATS, x, xOffset + i);
      FloatVector.fromArray(FLOATS, target, offset + i).add(addend).intoArray(target, offset + i);
    }
  }

  /** RMSNorm: {@code out = x / sqrt(mean(x^2) + epsilon) * weight}. */
  static void rmsNorm(float[] x, int offset, float[] weight, double epsilon, float[] out, int outOffset, int count) {
    FloatVector squares = FloatVector.zero(FLOATS);
    int bound = FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += WIDTH) {
      FloatVector v = FloatVector.fromArray(FLOATS, x, offset + i);
      squares = v.fma(v, squares);
    }
    double sum = 0;
    for (float lane : squares.toArray()) {
      sum += lane;
    }
    for (int i = bound; i < count; i++) {
      sum += x[offset + i] * x[offset + i];
    }
    float scale = (float) (1 / Math.sqrt(sum / count + epsilon));
    for (int i = 0; i < bound; i += WIDTH) {
      FloatVector v = FloatVector.fromArray(FLOATS, x, offset + i);
      v.mul(scale).mul(FloatVector.fromArray(FLOATS, weight, i)).intoArray(out, outOffset + i);
    }
    for (int i = bound; i < count; i++) {
      out[outOffset + i] = x[offset + i] * scale * weight[i];
    }
  }

  /** Rounds floats to bf16 (to nearest, ties to even). */
  static void toBf16(float[] in, int offset, MemorySegment out, long outOffset, int count) {
    int bound = FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += WIDTH) {
      IntVector bits = FloatVector.fromArray(FLOATS, in, offset + i).reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      IntVector rounded = bits.add(odd).add(0x7fff).lanewise(VectorOperators.LSHR, 16);
      rounded.convertShape(VectorOperators.I2S, HALVES, 0).intoMemorySegment(out, outOffset + 2L * i, ORDER);
    }
    for (int i = bound; i < count; i++) {
      int bits = Float.floatToRawIntBits(in[offset + i]);
      short rounded = (short) (bits + (bits >>> 16 & 1) + 0x7fff >>> 16);
      out.set(ValueLayout.JAVA_SHORT_UNALIGNED, outOffset + 2L * i, rounded);
    }
  }

  /** Widens bf16 to floats. */
  static void fromBf16(MemorySegment in, long inOffset, float[] out, int offset, int count) {
    int bound = FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += WIDTH) {
      ShortVector halves = ShortVector.fromMemorySegment(HALVES, in, inOffset + 2L * i, ORDER);
      IntVector bits = (IntVector) halves.convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0);
      bits.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(out, offset + i);
    }
    for (int i = bound; i < count; i++) {
      short half = in.get(ValueLayout.JAVA_SHORT_UNALIGNED, inOffset + 2L * i);
      out[offset + i] = Float.intBitsToFloat(half << 16);
    }
  }

  /** Rounds floats to fp16 (to nearest, ties to even); numbers beyond the largest become that, NaN stays NaN. */
  static void toFp16(float[] in, int offset, MemorySegment out, long outOffset, int count) {
    int bound = FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += WIDTH) {
      IntVector bits = FloatVector.fromArray(FLOATS, in, offset + i).reinterpretAsInts();
      IntVector all = bits.and(0x7fffffff);
      IntVector size = all.min(LARGEST_FP16);
      IntVector odd = size.lanewise(VectorOperators.LSHR, 13).and(1);
      IntVector normal = size.add(odd).add(0xfff - (112 << 23)).lanewise(VectorOperators.LSHR, 13);
      // The last bit of this sum is 2^-24, the smallest number of fp16.
      IntVector small = size.reinterpretAsFloats().add(0.5f).reinterpretAsInts().sub(Float.floatToRawIntBits(0.5f));
      IntVector rounded = normal.blend(small, size.lt(SMALLEST_NORMAL_FP16)).blend(0x7e00, all.lt(INFINITY + 1).not());
      IntVector signed = rounded.or(bits.lanewise(VectorOperators.LSHR, 16).and(0x8000));
      signed.convertShape(VectorOperators.I2S, HALVES, 0).intoMemorySegment(out, outOffset + 2L * i, ORDER);
    }
    float largest = Float.intBitsToFloat(LARGEST_FP16);
    for (int i = bound; i < count; i++) {
      short rounded = Float.floatToFloat16(Math.clamp(in[offset + i], -largest, largest));
      out.set(ValueLayout.JAVA_SHORT_UNALIGNED, outOffset + 2L * i, rounded);
    }
  }

  /**
   * Widens fp16 to floats. The compiler makes instructions for whole vectors of this loop; shifts and a product with
   * 2^112 take twenty times as long where numbers are small.
   */
  static void fromFp16(MemorySegment in, long inOffset, float[] out, int offset, int count) {
    for (int i = 0; i < count; i++) {
      out[offset + i] = Float.float16ToFloat(in.get(ValueLayout.JAVA_SHORT_UNALIGNED, inOffset + 2L * i));
    }
  }

  /** Converts signed bytes to floats. */
  static void fromInt8(MemorySegment in, long inOffset, float[] out, int offset, int count) {
    int bound = QUARTERS.length() == WIDTH ? FLOATS.loopBound(count) : 0;
    for (int i = 0; i < bound; i += WIDTH) {
      FloatVector numbers = (FloatVector)
          ByteVector.fromMemorySegment(QUARTERS, in, inOffset + i, ORDER).convertShape(VectorOperators.B2F, FLOATS, 0);
      numbers.intoArray(out, offset + i);
    }
    for (int i = bound; i < count; i++) {
      out[offset + i] = in.get(ValueLayout.JAVA_BYTE, inOffset + i);
    }
  }
}
