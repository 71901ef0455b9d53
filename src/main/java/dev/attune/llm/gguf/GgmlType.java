package dev.attune.llm.gguf;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Element types of GGUF tensors that can be read, with their block layouts as in ggml's {@code block_*} structures. A
 * block holds {@link #blockSize} values in {@link #blockBytes} bytes; numbers are little-endian, {@code d} and {@code
 * m} are halves.
 */
public enum GgmlType {
  F32(0, 1, 4) {
    @Override
    float number(MemorySegment in, long at) {
      return in.get(FLOAT, at);
    }
  },
  F16(1, 1, 2) {
    @Override
    float number(MemorySegment in, long at) {
      return half(in, at);
    }
  },
  /** {@code d, nibbles[16]}: value = d (q - 8). */
  Q4_0(2, 32, 18, 32, 4, true) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      scales[group] = half(in, at);
      minima[group] = -8 * scales[group];
      nibbles(in, at + 2, codes, to);
    }
  },
  /** {@code d, m, nibbles[16]}: value = d q + m. */
  Q4_1(3, 32, 20, 32, 4, true) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      scales[group] = half(in, at);
      minima[group] = half(in, at + 2);
      nibbles(in, at + 4, codes, to);
    }
  },
  /** {@code d, fifth bits (32), nibbles[16]}: value = d (q - 16). */
  Q5_0(6, 32, 22, 32, 8, false) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      scales[group] = half(in, at);
      nibbles(in, at + 6, codes, to);
      int high = in.get(INT, at + 2);
      for (int i = 0; i < 32; i++) {
        codes[to + i] = (byte) ((codes[to + i] | fifthBit(high, i)) - 16);
      }
    }
  },
  /** {@code d, m, fifth bits (32), nibbles[16]}: value = d q + m. */
  Q5_1(7, 32, 24, 32, 8, true) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      scales[group] = half(in, at);
      minima[group] = half(in, at + 2);
      nibbles(in, at + 8, codes, to);
      int high = in.get(INT, at + 4);
      for (int i = 0; i < 32; i++) {
        codes[to + i] |= (byte) fifthBit(high, i);
      }
    }
  },
  /** {@code d, int8[32]}. */
  Q8_0(8, 32, 34, 32, 8, false) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      scales[group] = half(in, at);
      MemorySegment.copy(in, JAVA_BYTE, at + 2, codes, to, 32);
    }
  },
  /** {@code d, dmin, scales and minima (6 bits each, 12 bytes), nibbles[128]}: value = d scale q - dmin minimum. */
  Q4_K(12, 256, 144, 32, 4, true) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      for (int g = 0; g < 8; g++) {
        scales[group + g] = half(in, at) * scaleOf(in, at + 4, g);
        minima[group + g] = -half(in, at + 2) * minimumOf(in, at + 4, g);
        long nibbles = at + 16 + (g / 2) * 32L;
        int shift = (g % 2) * 4;
        for (int i = 0; i < 32; i++) {
          codes[to + g * 32 + i] = (byte) (unsigned(in, nibbles + i) >> shift & 15);
        }
      }
    }
  },
  /** As {@link #Q4_K} with the fifth bits {@code [32]} between scales and nibbles: bit {@code g} is of group g. */
  Q5_K(13, 256, 176, 32, 8, true) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      for (int g = 0; g < 8; g++) {
        scales[group + g] = half(in, at) * scaleOf(in, at + 4, g);
        minima[group + g] = -half(in, at + 2) * minimumOf(in, at + 4, g);
        long nibbles = at + 48 + (g / 2) * 32L;
        int shift = (g % 2) * 4;
        for (int i = 0; i < 32; i++) {
          int fifth = (unsigned(in, at + 16 + i) >> g & 1) << 4;
          codes[to + g * 32 + i] = (byte) (unsigned(in, nibbles + i) >> shift & 15 | fifth);
        }
      }
    }
  },
  /** {@code low nibbles[128], high pairs[64], scales int8[16], d}: value = d scale (q - 32). */
  Q6_K(14, 256, 210, 16, 8, false) {
    @Override
    void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
      for (int g = 0; g < 16; g++) {
        scales[group + g] = half(in, at + 208) * in.get(JAVA_BYTE, at + 192 + g);
      }
      for (int i = 0; i < 256; i++) {
        int half = i / 128;
        int inHalf = i % 128;
        int lane = inHalf % 32;
        int quarter = inHalf / 32;
        int low = unsigned(in, at + half * 64L + lane + (quarter % 2) * 32L) >> (quarter / 2) * 4 & 15;
        int high = unsigned(in, at + 128 + half * 32L + lane) >> quarter * 2 & 3;
        codes[to + i] = (byte) ((low | high << 4) - 32);
      }
    }
  },
  BF16(30, 1, 2) {
    @Override
    float number(MemorySegment in, long at) {
      return Float.intBitsToFloat(in.get(SHORT, at) << 16);
    }
  };

  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  final int code;
  final int blockSize;
  final int blockBytes;
  /** Values that share a scale; 0 where numbers are stored one by one. */
  final int groupSize;
  /** Bits that a code needs, 4 (unsigned) or 8 (signed). */
  final int codeBits;
  final boolean hasMinima;

  GgmlType(int code, int blockSize, int blockBytes) {
    this(code, blockSize, blockBytes, 0, 0, false);
  }

  GgmlType(int code, int blockSize, int blockBytes, int groupSize, int codeBits, boolean hasMinima) {
    this.code = code;
    this.blockSize = blockSize;
    this.blockBytes = blockBytes;
    this.groupSize = groupSize;
    this.codeBits = codeBits;
    this.hasMinima = hasMinima;
  }

  /** Bytes that {@code count} values take; {@code count} must be a multiple of the block size. */
  public long bytes(long count) {
    return count / blockSize * blockBytes;
  }

  /** Values in one block. */
  public int blockSize() {
    return blockSize;
  }

  /** Turns {@code count} values, a multiple of the block size, into floats. */
  public void dequantize(MemorySegment in, long byteOffset, float[] out, int outOffset, int count) {
    if (groupSize == 0) {
      for (int i = 0; i < count; i++) {
        out[outOffset + i] = number(in, byteOffset + (long) i * blockBytes);
      }
      return;
    }
    byte[] codes = new byte[count];
    float[] scales = new float[count / groupSize];
    float[] minima = new float[scales.length];
    codes(in, byteOffset, codes, scales, minima, count);
    for (int i = 0; i < count; i++) {
      // The product is exact except in Q6_K, which has no minima: one rounding, as in the reference.
      out[outOffset + i] = scales[i / groupSize] * codes[i] + minima[i / groupSize];
    }
  }

  /** Takes {@code count} values, a multiple of the block size, of a quantised type apart. */
  void codes(MemorySegment in, long byteOffset, byte[] codes, float[] scales, float[] minima, int count) {
    for (int i = 0; i < count; i += blockSize) {
      block(in, byteOffset + (long) (i / blockSize) * blockBytes, codes, i, scales, minima, i / groupSize);
    }
  }

  /** One number of a type that is not quantised. */
  float number(MemorySegment in, long at) {
    throw new UnsupportedOperationException(name());
  }

  /** One block of a quantised type; its first group is {@code group}. */
  void block(MemorySegment in, long at, byte[] codes, int to, float[] scales, float[] minima, int group) {
    throw new UnsupportedOperationException(name());
  }

  /** 32 codes: the low nibbles, then the high ones. */
  private static void nibbles(MemorySegment in, long at, byte[] codes, int to) {
    for (int i = 0; i < 16; i++) {
      int q = unsigned(in, at + i);
      codes[to + i] = (byte) (q & 15);
      codes[to + i + 16] = (byte) (q >> 4);
    }
  }

  private static float half(MemorySegment in, long at) {
    return Float.float16ToFloat(in.get(SHORT, at));
  }

  private static int unsigned(MemorySegment in, long at) {
    return in.get(JAVA_BYTE, at) & 0xff;
  }

  private static int fifthBit(int bits, int i) {
    return (bits >>> i & 1) << 4;
  }

  /** 6-bit scale of a group of a K-quant: groups 4–7 keep their two high bits in the bytes of groups 0–3. */
  private static int scaleOf(MemorySegment in, long at, int group) {
    return group < 4
        ? unsigned(in, at + group) & 63
        : unsigned(in, at + group + 4) & 15 | unsigned(in, at + group - 4) >> 6 << 4;
  }

  private static int minimumOf(MemorySegment in, long at, int group) {
    return group < 4
        ? unsigned(in, at + group + 4) & 63
        : unsigned(in, at + group + 4) >> 4 | unsigned(in, at + group) >> 6 << 4;
  }
}
