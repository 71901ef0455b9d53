package dev.attune.llm.safetensors;

import static dev.attune.llm.safetensors.SafetensorsTensor.FLOAT;
import static dev.attune.llm.safetensors.SafetensorsTensor.SHORT;

import java.lang.foreign.MemorySegment;

/** Element types that can be read; numbers are little-endian. */
public enum SafetensorsType {
  F32(4) {
    @Override
    void read(MemorySegment in, long at, float[] out, int to, int count) {
      MemorySegment.copy(in, FLOAT, at, out, to, count);
    }
  },
  F16(2) {
    @Override
    void read(MemorySegment in, long at, float[] out, int to, int count) {
      for (int i = 0; i < count; i++) {
        out[to + i] = Float.float16ToFloat(in.get(SHORT, at + 2L * i));
      }
    }
  },
  BF16(2) {
    @Override
    void read(MemorySegment in, long at, float[] out, int to, int count) {
      for (int i = 0; i < count; i++) {
        out[to + i] = Float.intBitsToFloat(in.get(SHORT, at + 2L * i) << 16);
      }
    }
  };

  final int bytes;

  SafetensorsType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one number. */
  public int bytes() {
    return bytes;
  }

  abstract void read(MemorySegment in, long at, float[] out, int to, int count);
}
