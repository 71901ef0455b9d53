package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.stream.IntStream;

/** Numbers in FP8 (E4M3) on the GPU. */
final class Fp8Numbers {

  private final Gpu gpu;

  Fp8Numbers(Gpu gpu) {
    this.gpu = gpu;
  }

  /** What a matrix in FP8 stands for. */
  float[] numbers(GemmProducts.Matrix matrix, int rows, int columns) {
    return scaled(codes(matrix.address(), rows, columns), gpu.readFloats(matrix.scales(), rows), columns);
  }

  /** Numbers times the scales of their rows, in place. */
  static float[] scaled(float[] numbers, float[] scales, int columns) {
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] *= scales[i / columns];
    }
    return numbers;
  }

  /** What codes are without scales. */
  float[] codes(long address, int rows, int columns) {
    byte[] codes = gpu.read(address, (long) rows * columns);
    float[] numbers = new float[rows * columns];
    IntStream.range(0, numbers.length).parallel().forEach(i -> {
      // Input 16 a + 8 h + 2 q + e of 64 is byte 16 q + 4 a + 2 e + h.
      int at = i / 64 * 64 + i / 2 % 4 * 16 + i / 16 % 4 * 4 + i % 2 * 2 + i / 8 % 2;
      numbers[i] = e4m3(codes[at]);
    });
    return numbers;
  }

  /**
   * Checks what E4M3 makes of numbers: three bits follow the first, and the smallest step is 2^-9 of the row's scale.
   *
   * @param slack what the numbers themselves may differ by, of 1 and of each
   */
  static void check(float[] numbers, double[] values, int columns, float[] scales, double slack) {
    for (int i = 0; i < numbers.length; i++) {
      double most = Math.abs(values[i]) / 15.9 + scales[i / columns] / 1023 + slack * (1 + Math.abs(values[i]));
      if (!(Math.abs(numbers[i] - values[i]) <= most)) {
        throw new AssertionError(
            "Number %d of row %d is %g, not %g".formatted(i % columns, i / columns, numbers[i], values[i]));
      }
    }
  }

  /** Checks that sums of squares of codes are no less than they are, and not much more. */
  void checkNorms(long norms, float[] codes, int rows, int columns) {
    byte[] sums = gpu.read(norms, 8L * rows);
    for (int i = 0; i < rows; i++) {
      double sum = ByteBuffer.wrap(sums).order(ByteOrder.LITTLE_ENDIAN).getLong(8 * i) / 4096.0;
      double least = Reference.squareSum(codes, i, columns);
      assertThat(sum).as("norm of row %d", i).isBetween(0.999999 * least, 1.3 * least + 0.1);
    }
  }

  private static float e4m3(byte code) {
    int exponent = code >> 3 & 15;
    int mantissa = code & 7;
    float value = exponent == 0 ? mantissa / 512f : (float) Math.scalb(8 + mantissa, exponent - 10);
    return code < 0 ? -value : value;
  }
}
