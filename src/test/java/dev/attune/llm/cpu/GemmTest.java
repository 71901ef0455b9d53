package dev.attune.llm.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.gguf.GgmlType;
import dev.attune.llm.gguf.GgufTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products with weights of every type: right, and to the bit the same however many rows are multiplied together. */
class GemmTest {

  private static final int INPUTS = 512;
  private static final int OUTPUTS = Gemm.PANEL + 3;
  private static final int ROWS = 31;

  private final Random random = new Random(5);
  private final WorkerPool pool = new WorkerPool(1);
  private final Gemm.Scratch scratch = new Gemm.Scratch();

  @ParameterizedTest
  @EnumSource(GgmlType.class)
  void productsOfEveryTypeAreRightWhateverTheBatch(GgmlType type) {
    GgufTensor tensor = tensor(type);
    PackedMatrix matrix = PackedMatrix.pack(Arena.ofAuto(), pool, tensor, row -> OUTPUTS - 1 - row);
    int stride = Gemm.inputStride(INPUTS);
    float[] in = new float[ROWS * stride];
    for (int row = 0; row < ROWS; row++) {
      for (int i = 0; i < INPUTS; i++) {
        in[row * stride + i] = (float) random.nextGaussian();
      }
      Gemm.sumGroups(in, row * stride, INPUTS);
    }
    float[] together = multiply(in, 0, ROWS, matrix);
    float[] weights = new float[INPUTS];
    float[] looked = new float[INPUTS];
    for (int output = 0; output < OUTPUTS; output++) {
      tensor.row(OUTPUTS - 1 - output, weights, 0);
      matrix.row(output, looked, 0);
      assertThat(looked).isEqualTo(weights);
      for (int row = 0; row < ROWS; row++) {
        double expected = 0;
        double size = 0;
        for (int i = 0; i < INPUTS; i++) {
          double term = (double) in[row * stride + i] * weights[i];
          expected += term;
          size += Math.abs(term);
        }
        assertThat((double) together[row * matrix.paddedOutputs() + output]).as("row %d, output %d", row, output)
            .isCloseTo(expected, within(1e-5 * size));
      }
    }
    for (int rows : new int[] {1, 2, 3, 7, 12}) {
      for (int first = 0; first + rows <= ROWS; first += rows) {
        float[] some = multiply(in, first, rows, matrix);
        for (int i = 0; i < some.length; i++) {
          assertThat(some[i]).as("%d rows from %d, number %d", rows, first, i)
              .isEqualTo(together[first * matrix.paddedOutputs() + i]);
        }
      }
    }
  }

  @Test
  void quantisedWeightsAreNotInflated() {
    PackedMatrix matrix = PackedMatrix.pack(Arena.ofAuto(), pool, tensor(GgmlType.Q4_1), row -> row);
    assertThat(matrix.bytes() * 8.0 / (INPUTS * matrix.paddedOutputs())).isEqualTo(6);
  }

  private float[] multiply(float[] in, int first, int rows, PackedMatrix matrix) {
    int stride = Gemm.inputStride(INPUTS);
    float[] out = new float[rows * matrix.paddedOutputs()];
    for (int panel = 0; panel < matrix.panels(); panel++) {
      Gemm.panel(in, first * stride, stride, rows, matrix, panel, out, panel * Gemm.PANEL, matrix.paddedOutputs(),
          scratch);
    }
    return out;
  }

  /** Random bits, with scales that are numbers. */
  private GgufTensor tensor(GgmlType type) {
    byte[] bytes = new byte[Math.toIntExact(OUTPUTS * type.bytes(INPUTS))];
    random.nextBytes(bytes);
    MemorySegment data = MemorySegment.ofArray(bytes);
    if (type == GgmlType.F32) {
      for (int i = 0; i < OUTPUTS * INPUTS; i++) {
        data.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i, (float) random.nextGaussian());
      }
    } else if (type == GgmlType.F16 || type == GgmlType.BF16) {
      for (int i = 1; i < bytes.length; i += 2) {
        bytes[i] = (byte) (bytes[i] & 0x80 | 0x3c + random.nextInt(3));
      }
    } else {
      // Half-precision numbers of about 0.01 wherever a type keeps its d and m.
      int block = Math.toIntExact(type.bytes(type.blockSize()));
      int[] halves = switch (type) {
        case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
        case Q6_K -> new int[] {208};
        default -> new int[] {0};
      };
      for (int at = 0; at < bytes.length; at += block) {
        for (int half : halves) {
          data.set(ValueLayout.JAVA_SHORT_UNALIGNED, at + half,
              Float.floatToFloat16((float) (0.01 * random.nextGaussian())));
        }
      }
    }
    return new GgufTensor("test", type, INPUTS, OUTPUTS, data);
  }
}
