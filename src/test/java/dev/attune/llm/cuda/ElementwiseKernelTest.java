package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Kernels of single rows against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class ElementwiseKernelTest {

  private final Gpu gpu;

  ElementwiseKernelTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  @ParameterizedTest
  @CsvSource({"1,576", "17,576", "160,128", "37,4096"})
  void embeddingAndNorm(int rows, int hidden) {
    Random random = new Random(rows);
    Kernels kernels = gpu.kernels(TestShapes.llama(hidden, 9, 3, 64, 128));
    float[] table = gpu.random(random, 500 * hidden, 1);
    int[] tokens = random.ints(rows, 0, 500).toArray();
    long x = gpu.poisoned(2L * rows * hidden);
    long x32 = gpu.poisoned(4L * rows * hidden);
    long low = gpu.poisoned((long) rows * hidden);
    long squares = gpu.poisoned(4L * rows);
    kernels.embed.launch(rows, 1, 128, gpu.ints(tokens), gpu.numbers(table), x, x32, low, squares, rows, hidden);
    long normed = gpu.poisoned(2L * rows * hidden);
    kernels.rmsNorm.launch(rows, 1, 128, x, normed, hidden, 1e-5f);
    float[] expected = new float[rows * hidden];
    for (int i = 0; i < rows; i++) {
      System.arraycopy(table, tokens[i] * hidden, expected, i * hidden, hidden);
    }
    assertThat(gpu.readNumbers(x, rows * hidden)).isEqualTo(expected);
    assertThat(gpu.readFloats(x32, rows * hidden)).isEqualTo(expected);
    assertThat(gpu.read(low, (long) rows * hidden)).containsOnly(0);
    double[] sums = IntStream.range(0, rows).mapToDouble(i -> Reference.squareSum(expected, i, hidden)).toArray();
    assertThat(Gpu.error(gpu.readFloats(squares, rows), sums)).isLessThan(1e-5);
    double[] scaled = Reference.toDouble(expected);
    Reference.scaleRows(scaled, Reference.normFactors(expected, rows, hidden, 1e-5), hidden);
    assertThat(Gpu.error(gpu.readNumbers(normed, rows * hidden), scaled)).isLessThan(gpu.tolerance());
  }

  @ParameterizedTest
  @CsvSource({"1,9,3,64", "37,6,2,64", "17,8,2,128"})
  void rotationsAndKeeping(int rows, int heads, int kvHeads, int headSize) {
    Random random = new Random(rows);
    ModelConfig config = TestShapes.llama(128, heads, kvHeads, headSize, 128);
    int width = (heads + 2 * kvHeads) * headSize;
    float[] qkv = gpu.random(random, rows * width, 1);
    int[] positions = random.ints(rows, 0, 4096).toArray();
    long segment = gpu.poisoned(2L * 4 * kvHeads * rows * headSize);
    long q = gpu.poisoned(2L * rows * heads * headSize);
    gpu.kernels(config).ropeKeep.launch(rows, 1, 128, gpu.numbers(qkv), q, gpu.ints(Gpu.places(segment, rows)),
        gpu.ints(positions), gpu.rope(config), 1, heads, kvHeads, heads + 2 * kvHeads, headSize);
    QkvCheck.check(gpu, config, Reference.toDouble(qkv), positions, rows, 1, q, segment);
  }

  /** A product of two numbers that is larger than fp16 can be is the largest number, with its sign. */
  @Test
  void whatLeavesTheRangeIsFinite() {
    float[] gateUp = new float[16];
    Arrays.fill(gateUp, 0, 8, 40_000);
    for (int i = 8; i < 16; i++) {
      gateUp[i] = i % 2 == 0 ? 40_000 : -40_000;
    }
    long out = gpu.poisoned(16);
    gpu.kernels(TestShapes.llama(128, 6, 2, 64, 128)).swiglu.launch(1, 1, 256, gpu.numbers(gateUp), out, 1L, 8);
    float[] actual = gpu.readNumbers(out, 8);
    for (int i = 0; i < 8; i++) {
      float most = gpu.numbers == Numbers.FP16 ? 65504 : gpu.round(gpu.round(40_000) * gpu.round(40_000));
      assertThat(actual[i]).isEqualTo(i % 2 == 0 ? most : -most);
    }
  }

  @Test
  void theLargestMagnitude() {
    Kernels kernels = gpu.kernels(TestShapes.llama(128, 6, 2, 64, 128));
    float[] numbers = gpu.random(new Random(9), 77_777, 1);
    long found = gpu.floats(new float[] {2.5f});
    kernels.largestMagnitude.launch(gpu.device.multiprocessors, 1, 256, gpu.numbers(numbers), 100L, found);
    assertThat(gpu.readFloats(found, 1)[0]).isEqualTo(Math.max(2.5f, largest(numbers, 100)));
    for (int at : new int[] {0, 40_001, numbers.length - 1}) {
      numbers[at] = -100 - at / 1000;
      kernels.largestMagnitude.launch(
          gpu.device.multiprocessors, 1, 256, gpu.numbers(numbers), (long) numbers.length, found);
      assertThat(gpu.readFloats(found, 1)[0]).isEqualTo(largest(numbers, numbers.length));
    }
    kernels.largestMagnitude.launch(gpu.device.multiprocessors, 1, 256, gpu.numbers(new float[1]), 0L, found);
    assertThat(gpu.readFloats(found, 1)[0]).isEqualTo(largest(numbers, numbers.length));
  }

  private float largest(float[] numbers, int count) {
    float largest = 0;
    for (int i = 0; i < count; i++) {
      largest = Math.max(largest, Math.abs(gpu.round(numbers[i])));
    }
    return largest;
  }

  @Test
  void swiglu() {
    Random random = new Random(5);
    int rows = 37;
    int width = 192;
    float[] gateUp = gpu.random(random, rows * 2 * width, 2);
    long out = gpu.poisoned(2L * rows * width);
    long groups = rows * width / 8;
    gpu.kernels(TestShapes.llama(128, 6, 2, 64, width)).swiglu.launch(
        (int) (groups + 255) / 256, 1, 256, gpu.numbers(gateUp), out, groups, width);
    double[] expected = Reference.swiglu(Reference.toDouble(gateUp), rows, width);
    assertThat(Gpu.error(gpu.readNumbers(out, rows * width), expected)).isLessThan(gpu.tolerance());
  }
}
