package dev.attune.llm.cuda;

import dev.attune.llm.kv.KvCodec;
import java.util.Locale;

/**
 * Type of the numbers of 16 bits that a GPU computes with: weights, activations, keys and values. Sums are fp32.
 * Kernels are compiled for one of them ({@code common.cuh}).
 */
public enum Numbers {
  /**
   * binary16 of IEEE 754: eleven bits of each number, up to 65,504. Activations beyond become the largest number;
   * weights beyond are not taken.
   */
  FP16(KvCodec.FP16, 65504f, 1f / 16) {
    @Override
    short bits(float value) {
      // A number beyond would become infinite.
      return Float.floatToFloat16(Math.clamp(value, -65504f, 65504f));
    }

    @Override
    float value(short bits) {
      return Float.float16ToFloat(bits);
    }
  },
  /** The first half of fp32: eight bits of each number, as large as those of fp32. */
  BF16(KvCodec.BF16, Float.POSITIVE_INFINITY, 1) {
    @Override
    short bits(float value) {
      int bits = Float.floatToRawIntBits(value);
      return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }

    @Override
    float value(short bits) {
      return Float.intBitsToFloat(bits << 16);
    }
  };

  /** What segments of these numbers are in. */
  final KvCodec codec;
  /** The largest weight that is taken. */
  final float largest;
  /** A power of two that the residual is kept times, far from the largest number; what norms make of it is the same. */
  final float residualScale;

  Numbers(KvCodec codec, float largest, float residualScale) {
    this.codec = codec;
    this.largest = largest;
    this.residualScale = residualScale;
  }

  /** Rounds to nearest, ties to even. */
  abstract short bits(float value);

  abstract float value(short bits);

  /** What segments are in that are asked for in a codec: of 16 bits there is one type on a device. */
  KvCodec kept(KvCodec asked) {
    return asked == KvCodec.BF16 || asked == KvCodec.FP16 ? codec : asked;
  }

  /** What kernels are compiled with. */
  String option() {
    return "-DNUMBERS_" + name();
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
