package dev.attune.llm.cuda;

/** Numbers in FP8 (E4M3) on the GPU. */
final class Fp8Numbers {

  private final Gpu gpu;

  Fp8Numbers(Gpu gpu) {
    this.gpu = gpu;
  }

  float[] scaled(float[] numbers, float[] scales, int columns) {
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] *= scales[i / columns];
    }
    return numbers;
  }

  /** What a matrix in FP8 stands for. */
  float[] numbers(GemmProducts.Matrix matrix, int rows, int columns) {
    return scaled(numbers(matrix.address(), rows, columns), gpu.readFloats(matrix.scales(), rows), columns);
  }

  /** What codes stand for. */
  float[] numbers(long address, int rows, int columns) {
    byte[] codes = gpu.read(address, (long) rows * columns);
    float[] numbers = new float[rows * columns];
    for (int i = 0; i < numbers.length; i++) {
      // Input 16 a + 8 h + 2 q + e of 64 is byte 16 q + 4 a + 2 e + h.
      int at = i / 64 * 64 + i / 2 % 4 * 16 + i / 16 % 4 * 4 + i % 2 * 2 + i / 8 % 2;
      numbers[i] = e4m3(codes[at]);
    }
    return numbers;
  }

  float e4m3(byte code) {
    int exponent = code >> 3 & 15;
    int mantissa = code & 7;
    float value = exponent == 0 ? mantissa / 512f : (float) Math.scalb(8 + mantissa, exponent - 10);
    return code < 0 ? -value : value;
  }
}
