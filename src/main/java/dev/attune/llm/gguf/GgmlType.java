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
    void block(MemorySegment in, long at, float[] out, int to) {
      out[to] = in.get(FLOAT, at);
    }
  },
  F16(1, 1, 2) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      out[to] = half(in, at);
    }
  },
  /** {@code d, nibbles[16]}: value = d (q - 8). */
  Q4_0(2, 32, 18) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      for (int i = 0; i < 16; i++) {
        int q = unsigned(in, at + 2 + i);
        out[to + i] = d * ((q & 15) - 8);
        out[to + i + 16] = d * ((q >> 4) - 8);
      }
    }
  },
  /** {@code d, m, nibbles[16]}: value = d q + m. */
  Q4_1(3, 32, 20) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      float m = half(in, at + 2);
      for (int i = 0; i < 16; i++) {
        int q = unsigned(in, at + 4 + i);
        out[to + i] = d * (q & 15) + m;
        out[to + i + 16] = d * (q >> 4) + m;
      }
    }
  },
  /** {@code d, fifth bits (32), nibbles[16]}: value = d (q - 16). */
  Q5_0(6, 32, 22) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      int high = in.get(INT, at + 2);
      for (int i = 0; i < 16; i++) {
        int q = unsigned(in, at + 6 + i);
        out[to + i] = d * ((q & 15 | fifthBit(high, i)) - 16);
        out[to + i + 16] = d * ((q >> 4 | fifthBit(high, i + 16)) - 16);
      }
    }
  },
  /** {@code d, m, fifth bits (32), nibbles[16]}: value = d q + m. */
  Q5_1(7, 32, 24) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      float m = half(in, at + 2);
      int high = in.get(INT, at + 4);
      for (int i = 0; i < 16; i++) {
        int q = unsigned(in, at + 8 + i);
        out[to + i] = d * (q & 15 | fifthBit(high, i)) + m;
        out[to + i + 16] = d * (q >> 4 | fifthBit(high, i + 16)) + m;
      }
    }
  },
  /** {@code d, int8[32]}. */
  Q8_0(8, 32, 34) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      for (int i = 0; i < 32; i++) {
        out[to + i] = d * in.get(JAVA_BYTE, at + 2 + i);
      }
    }
  },
  /** {@code d, dmin, scales and minima (6 bits each, 12 bytes), nibbles[128]}. */
  Q4_K(12, 256, 144) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      float dmin = half(in, at + 2);
      for (int group = 0; group < 8; group++) {
        float scale = d * scaleOf(in, at + 4, group);
        float min = dmin * minimumOf(in, at + 4, group);
        long nibbles = at + 16 + (group / 2) * 32L;
        int shift = (group % 2) * 4;
        for (int i = 0; i < 32; i++) {
          out[to + group * 32 + i] = scale * (unsigned(in, nibbles + i) >> shift & 15) - min;
        }
      }
    }
  },
  /** As {@link #Q4_K} with the fifth bits {@code [32]} between scales and nibbles: bit {@code g} is of group g. */
  Q5_K(13, 256, 176) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at);
      float dmin = half(in, at + 2);
      for (int group = 0; group < 8; group++) {
        float scale = d * scaleOf(in, at + 4, group);
        float min = dmin * minimumOf(in, at + 4, group);
        long nibbles = at + 48 + (group / 2) * 32L;
        int shift = (group % 2) * 4;
        for (int i = 0; i < 32; i++) {
          int fifth = (unsigned(in, at + 16 + i) >> group & 1) << 4;
          out[to + group * 32 + i] = scale * (unsigned(in, nibbles + i) >> shift & 15 | fifth) - min;
        }
      }
    }
  },
  /** {@code low nibbles[128], high pairs[64], scales int8[16], d}: value = d scale (q - 32). */
  Q6_K(14, 256, 210) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      float d = half(in, at + 208);
      for (int i = 0; i < 256; i++) {
        int half = i / 128;
        int inHalf = i % 128;
        int lane = inHalf % 32;
        int quarter = inHalf / 32;
        int low = unsigned(in, at + half * 64L + lane + (quarter % 2) * 32L) >> (quarter / 2) * 4 & 15;
        int high = unsigned(in, at + 128 + half * 32L + lane) >> quarter * 2 & 3;
        float scale = d * in.get(JAVA_BYTE, at + 192 + i / 16);
        out[to + i] = scale * ((low | high << 4) - 32);
      }
    }
  },
  BF16(30, 1, 2) {
    @Override
    void block(MemorySegment in, long at, float[] out, int to) {
      out[to] = Float.intBitsToFloat(in.get(SHORT, at) << 16);
    }
  };

  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  final int code;
  final int blockSize;
  final int blockBytes;

  GgmlType(int code, int blockSize, int blockBytes) {
    this.code = code;
    this.blockSize = blockSize;
    this.blockBytes = blockBytes;
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
    for (int i = 0; i < count; i += blockSize) {
      block(in, byteOffset + (long) (i / blockSize) * blockBytes, out, outOffset + i);
    }
  }

  abstract void block(MemorySegment in, long at, float[] out, int to);

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
