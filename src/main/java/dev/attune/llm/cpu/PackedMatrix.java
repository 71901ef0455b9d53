package dev.attune.llm.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.attune.llm.checkpoint.GroupCodes;
import dev.attune.llm.checkpoint.WeightTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.IntUnaryOperator;

/**
 * A weight matrix {@code [outputs, inputs]} in its own precision and the layout that {@link Gemm} reads: panels of
 * {@link Gemm#PANEL} outputs side by side, missing outputs of the last panel zero. A panel holds, for each group of
 * inputs, the scales {@code [PANEL]} (f32; of codes only) and then words of 32 bits {@code [words][PANEL]}, each with
 * consecutive inputs of one output, the first in the lowest bits; at its end the minima {@code [inputs / 32][PANEL]},
 * if there are any.
 */
public final class PackedMatrix {

  /** Gives a row of weights. */
  @FunctionalInterface
  public interface Rows {
    /** Writes the weights of output {@code row} to the start of {@code target}. */
    void read(int row, float[] target);
  }

  /** What a word of 32 bits holds. */
  enum Numbers {
    F32(1),
    BF16(2),
    INT8(4),
    INT4(8);

    final int perWord;

    Numbers(int perWord) {
      this.perWord = perWord;
    }

    boolean codes() {
      return this == INT8 || this == INT4;
    }
  }

  private static final int ALIGNMENT = 64;

  final int outputs;
  final int inputs;
  final Numbers numbers;
  /** Inputs that share a scale; all of them where there are no scales. */
  final int group;
  final boolean hasMinima;
  final MemorySegment data;

  private PackedMatrix(Arena arena, int outputs, int inputs, Numbers numbers, int group, boolean hasMinima) {
    this.outputs = outputs;
    this.inputs = inputs;
    this.numbers = numbers;
    this.group = group;
    this.hasMinima = hasMinima;
    this.data = arena.allocate(panels() * panelBytes(), ALIGNMENT);
  }

  /** Packs floats as they are. */
  static PackedMatrix pack(Arena arena, WorkerPool pool, int outputs, int inputs, Rows rows) {
    PackedMatrix matrix = new PackedMatrix(arena, outputs, inputs, Numbers.F32, inputs, false);
    matrix.packFloats(pool, rows);
    return matrix;
  }

  /**
   * Packs a tensor in its own precision where {@link Gemm} can read that, else as f32.
   *
   * @param order the tensor's row for each output
   */
  static PackedMatrix pack(Arena arena, WorkerPool pool, WeightTensor tensor, IntUnaryOperator order) {
    int outputs = tensor.rows();
    int inputs = tensor.columns();
    GroupCodes codes = tensor.codes();
    if (codes != null && inputs % Gemm.GROUP == 0) {
      PackedMatrix matrix = new PackedMatrix(arena, outputs, inputs, codes.bits() == 4 ? Numbers.INT4 : Numbers.INT8,
          codes.groupSize(), codes.hasMinima());
      matrix.packCodes(pool, codes, order);
      return matrix;
    }
    boolean half = tensor.typeName().equals("BF16") && inputs % 2 == 0;
    PackedMatrix matrix =
        new PackedMatrix(arena, outputs, inputs, half ? Numbers.BF16 : Numbers.F32, inputs, false);
    matrix.packFloats(pool, (row, target) -> tensor.row(order.applyAsInt(row), target, 0));
    return matrix;
  }

  private void packFloats(WorkerPool pool, Rows rows) {
    int perWord = numbers.perWord;
    pool.forEach(panels(), (panel, worker) -> {
      float[] row = new float[inputs];
      for (int j = 0; j < outputsOf(panel); j++) {
        rows.read(panel * Gemm.PANEL + j, row);
        for (int i = 0; i < inputs; i += perWord) {
          int word = Float.floatToRawIntBits(row[i]);
          if (numbers == Numbers.BF16) {
            word = word >>> 16 | Float.floatToRawIntBits(row[i + 1]) & 0xffff0000;
          }
          data.set(JAVA_INT, word(panel, i) + 4L * j, word);
        }
      }
    });
  }

  private void packCodes(WorkerPool pool, GroupCodes tensor, IntUnaryOperator order) {
    int perWord = numbers.perWord;
    int bits = Integer.SIZE / perWord;
    pool.forEach(panels(), (panel, worker) -> {
      byte[] codes = new byte[inputs];
      float[] scales = new float[inputs / group];
      float[] minima = new float[inputs / group];
      for (int j = 0; j < outputsOf(panel); j++) {
        tensor.row(order.applyAsInt(panel * Gemm.PANEL + j), codes, scales, minima);
        for (int i = 0; i < inputs; i += perWord) {
          int word = 0;
          for (int k = 0; k < perWord; k++) {
            word |= (codes[i + k] & (1 << bits) - 1) << k * bits;
          }
          data.set(JAVA_INT, word(panel, i) + 4L * j, word);
        }
        for (int g = 0; g < scales.length; g++) {
          data.set(JAVA_FLOAT, panelOffset(panel) + g * groupBytes() + 4L * j, scales[g]);
          if (hasMinima) {
            data.set(JAVA_FLOAT, minimaOffset(panel) + ((long) g * Gemm.PANEL + j) * Float.BYTES, minima[g]);
          }
        }
      }
    });
  }

  private int outputsOf(int panel) {
    return Math.min(Gemm.PANEL, outputs - panel * Gemm.PANEL);
  }

  /** Bytes from one group of a panel to the next. */
  long groupBytes() {
    return ((numbers.codes() ? 1 : 0) + (long) group / numbers.perWord) * Gemm.PANEL * Float.BYTES;
  }

  private long codesBytes() {
    return inputs / group * groupBytes();
  }

  private long panelBytes() {
    return codesBytes() + (hasMinima ? (long) inputs / group * Gemm.PANEL * Float.BYTES : 0);
  }

  /** Where the words of input {@code i} start. */
  private long word(int panel, int i) {
    long scales = numbers.codes() ? Gemm.PANEL * Float.BYTES : 0;
    return panelOffset(panel) + i / group * groupBytes() + scales
        + (long) (i % group / numbers.perWord) * Gemm.PANEL * Float.BYTES;
  }

  int panels() {
    return Gemm.padded(outputs) / Gemm.PANEL;
  }

  /** Outputs rounded up to whole panels: what a product writes per row. */
  int paddedOutputs() {
    return Gemm.padded(outputs);
  }

  long panelOffset(int panel) {
    return panel * panelBytes();
  }

  long minimaOffset(int panel) {
    return panelOffset(panel) + codesBytes();
  }

  /** Copies the weights of one output; an embedding table is looked up this way. */
  void row(int row, float[] target, int offset) {
    int panel = row / Gemm.PANEL;
    long lane = (long) (row % Gemm.PANEL) * Float.BYTES;
    int perWord = numbers.perWord;
    for (int i = 0; i < inputs; i++) {
      int word = data.get(JAVA_INT, word(panel, i) + lane);
      target[offset + i] = switch (numbers) {
        case F32 -> Float.intBitsToFloat(word);
        case BF16 -> Float.intBitsToFloat(i % 2 == 0 ? word << 16 : word & 0xffff0000);
        case INT8, INT4 -> {
          int shifted = word >>> i % perWord * (Integer.SIZE / perWord);
          int code = numbers == Numbers.INT8 ? (byte) shifted : shifted & 15;
          float scale = data.get(JAVA_FLOAT, panelOffset(panel) + i / group * groupBytes() + lane);
          long minimum = minimaOffset(panel) + (long) (i / group) * Gemm.PANEL * Float.BYTES + lane;
          yield scale * code + (hasMinima ? data.get(JAVA_FLOAT, minimum) : 0);
        }
      };
    }
  }

  long bytes() {
    return data.byteSize();
  }
}
