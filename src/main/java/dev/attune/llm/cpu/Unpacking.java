package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Gemm.PANEL;
import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.INTS;
import static dev.attune.llm.cpu.Lanes.ORDER;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/** Turns the codes of one panel into floats, {@code [2 halves][inputs][2 vectors]}: once for each block of rows. */
final class Unpacking {

  private static final int WORDS = PANEL * Float.BYTES;

  private Unpacking() {}

  static void codes(PackedMatrix weights, int panel, float[] target) {
    long at = weights.panelOffset(panel);
    int words = weights.group / weights.numbers.perWord;
    if (weights.numbers == PackedMatrix.Numbers.F32) {
      floats(weights.data, at, weights.inputs, target);
      return;
    }
    for (int group = 0; group < weights.inputs / weights.group; group++) {
      int first = group * weights.group;
      long from = at + group * weights.groupBytes();
      for (int vector = 0; vector < 4; vector++) {
        int to = (vector / 2 * weights.inputs + first) * 2 * WIDTH + vector % 2 * WIDTH;
        switch (weights.numbers) {
          case BF16 -> halves(weights.data, from + vector * WIDTH * 4L, words, target, to);
          case INT8 -> bytes(weights.data, from + WORDS + vector * WIDTH * 4L, words, target, to);
          case INT4 -> nibbles(weights.data, from + WORDS + vector * WIDTH * 4L, words, target, to);
          default -> throw new IllegalStateException(weights.numbers.name());
        }
      }
    }
  }

  /** Scales, {@code [groups][PANEL]}. */
  static void scales(PackedMatrix weights, int panel, float[] target) {
    long at = weights.panelOffset(panel);
    for (int group = 0; group < weights.inputs / weights.group; group++) {
      MemorySegment.copy(
          weights.data, ValueLayout.JAVA_FLOAT, at + group * weights.groupBytes(), target, group * PANEL, PANEL);
    }
  }

  /** f32, {@code [inputs][PANEL]}, split into halves. */
  static void floats(MemorySegment data, long at, int inputs, float[] target) {
    int half = inputs * 2 * WIDTH;
    for (int i = 0; i < inputs; i++) {
      long from = at + (long) i * WORDS;
      int to = i * 2 * WIDTH;
      FloatVector.fromMemorySegment(FLOATS, data, from, ORDER).intoArray(target, to);
      FloatVector.fromMemorySegment(FLOATS, data, from + 4L * WIDTH, ORDER).intoArray(target, to + WIDTH);
      FloatVector.fromMemorySegment(FLOATS, data, from + 8L * WIDTH, ORDER).intoArray(target, half + to);
      FloatVector.fromMemorySegment(FLOATS, data, from + 12L * WIDTH, ORDER).intoArray(target, half + to + WIDTH);
    }
  }

  private static void halves(MemorySegment data, long from, int words, float[] target, int to) {
    for (int word = 0; word < words; word++) {
      IntVector pair = IntVector.fromMemorySegment(INTS, data, from + (long) word * WORDS, ORDER);
      int at = to + word * 4 * WIDTH;
      pair.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(target, at);
      pair.and(0xffff0000).reinterpretAsFloats().intoArray(target, at + 2 * WIDTH);
    }
  }

  private static void bytes(MemorySegment data, long from, int words, float[] target, int to) {
    for (int word = 0; word < words; word++) {
      IntVector codes = IntVector.fromMemorySegment(INTS, data, from + (long) word * WORDS, ORDER);
      int at = to + word * 8 * WIDTH;
      for (int k = 0; k < 4; k++) {
        codes.lanewise(VectorOperators.LSHL, 24 - 8 * k).lanewise(VectorOperators.ASHR, 24)
            .convert(VectorOperators.I2F, 0).reinterpretAsFloats().intoArray(target, at + k * 2 * WIDTH);
      }
    }
  }

  private static void nibbles(MemorySegment data, long from, int words, float[] target, int to) {
    for (int word = 0; word < words; word++) {
      IntVector codes = IntVector.fromMemorySegment(INTS, data, from + (long) word * WORDS, ORDER);
      int at = to + word * 16 * WIDTH;
      for (int k = 0; k < 8; k++) {
        codes.lanewise(VectorOperators.LSHR, 4 * k).and(15)
            .convert(VectorOperators.I2F, 0).reinterpretAsFloats().intoArray(target, at + k * 2 * WIDTH);
      }
    }
  }
}
