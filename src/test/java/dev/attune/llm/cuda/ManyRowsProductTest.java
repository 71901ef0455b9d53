package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.Kernels.Epilogue;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Products of many rows against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class ManyRowsProductTest {

  private final Gpu gpu;
  private final Fp8Numbers fp8Numbers;

  ManyRowsProductTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
    fp8Numbers = new Fp8Numbers(gpu);
  }

  @ParameterizedTest
  @CsvSource({
    "1,192,64,576,false", "127,192,64,576,false", "160,256,64,576,false", "500,192,64,832,false",
    "37,192,64,832,false", "257,192,64,576,false", "97,256,64,832,false", "4600,192,64,576,false",
    "4600,192,64,832,false", "37,256,128,576,false", "130,256,128,1088,false", "1,192,64,576,true",
    "257,192,64,1600,true", "37,256,64,576,true", "4600,256,64,832,true", "130,256,128,1600,true"
  })
  void productsOfManyRows(int rows, int tile, int headSize, int hidden, boolean fp8) {
    Random random = new Random(rows);
    int heads = headSize == 64 ? 9 : 4;
    int kvHeads = headSize == 64 ? 3 : 2;
    int inner = 320;
    ModelConfig config = TestShapes.llama(hidden, heads, kvHeads, headSize, inner);
    Kernels kernels = gpu.kernels(config);
    GemmProducts gemm = new GemmProducts(gpu.device, config, kernels);
    for (Epilogue epilogue : List.of(Epilogue.QKV, Epilogue.RESIDUAL, Epilogue.SWIGLU)) {
      gemm.width(epilogue, tile);
    }
    float[] x = gpu.random(random, rows * hidden, 1);
    int capacity = (rows + 127) / 128 * 128;
    long xDevice = gpu.poisoned(2L * capacity * hidden);
    gpu.device.copy(xDevice, gpu.numbers(x), 2L * rows * hidden);
    // The sums of squares come in two parts.
    float[] parts = new float[2 * capacity];
    for (int i = 0; i < rows; i++) {
      float sum = Reference.squareSum(x, i, hidden);
      parts[i] = sum / 4;
      parts[capacity + i] = sum - sum / 4;
    }
    Operand xs = operand(kernels, x, rows, hidden, capacity, fp8);
    long squaresBefore = gpu.floats(parts);
    long norms = gpu.ints(new int[2 * rows]);
    GemmProducts.Input in = new GemmProducts.Input(xs.address, rows, capacity, squaresBefore, 2, xs.scales, norms);
    double[] factors = Reference.normFactors(x, rows, hidden, 1e-5);

    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] w = gpu.random(random, qkvWidth * hidden, 1 / Math.sqrt(hidden));
    int[] positions = random.ints(rows, 0, 4096).toArray();
    long segment = gpu.poisoned(2L * 4 * kvHeads * rows * headSize);
    long q = gpu.poisoned(2L * rows * heads * headSize);
    Operand ws = operand(kernels, w, qkvWidth, hidden, qkvWidth, fp8);
    gemm.qkv(in, ws.matrix(), 0, qkvWidth,
        new GemmProducts.Places(q, gpu.ints(Gpu.places(segment, rows)), gpu.ints(positions), gpu.rope(config)), 1);
    double[] qkv = Reference.multiply(xs.numbers, ws.numbers, rows, qkvWidth, hidden);
    Reference.scaleRows(qkv, factors, qkvWidth);
    QkvCheck.check(gpu, gpu.tolerance(fp8), config, qkv, positions, rows, 1, q, segment);

    float[] gateUp = gpu.random(random, 2 * inner * hidden, 1 / Math.sqrt(hidden));
    long activated = gpu.poisoned(2L * capacity * inner);
    ws = operand(kernels, gateUp, 2 * inner, hidden, 2 * inner, fp8);
    gemm.gateUp(in, ws.matrix(), activated);
    double[] expected = Reference.multiply(xs.numbers, ws.numbers, rows, 2 * inner, hidden);
    Reference.scaleRows(expected, factors, 2 * inner);
    double[] swiglu = Reference.swiglu(expected, rows, inner);
    float[] inside = fp8 ? fp8Numbers.codes(activated, rows, inner) : gpu.readNumbers(activated, rows * inner);
    if (fp8) {
      float[] ones = new float[rows];
      Arrays.fill(ones, 1);
      // Tensor cores sum products of FP8 with 14 bits or so.
      Fp8Numbers.check(inside, swiglu, inner, ones, 6e-3);
      fp8Numbers.checkNorms(norms, inside, rows, inner);
    } else {
      assertThat(Gpu.error(inside, swiglu)).as("SwiGLU").isLessThan(gpu.tolerance());
    }

    float[] down = gpu.random(random, hidden * inner, 1 / Math.sqrt(inner));
    byte[] lowBefore = new byte[rows * hidden];
    random.nextBytes(lowBefore);
    for (int i = 0; i < x.length; i++) {
      // Nothing is rounded to zero from beyond it.
      lowBefore[i] = x[i] == 0 ? 0 : lowBefore[i];
    }
    int[] words = new int[lowBefore.length / 4];
    ByteBuffer.wrap(lowBefore).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().get(words);
    long lowDevice = gpu.poisoned((long) capacity * hidden);
    gpu.device.copy(lowDevice, gpu.ints(words), lowBefore.length);
    long squares = gpu.poisoned(4L * capacity * gemm.squareParts());
    ws = operand(kernels, down, hidden, inner, hidden, fp8);
    long codes = fp8 ? gpu.poisoned((long) capacity * hidden) : 0;
    long scales = fp8 ? gpu.poisoned(4L * capacity) : 0;
    gemm.residual(new GemmProducts.Input(activated, rows, capacity, squaresBefore, 2, 0, norms), ws.matrix(), inner,
        new GemmProducts.Residual(xDevice, lowDevice, codes, scales), squares);
    double[] sum = Reference.multiply(inside, ws.numbers, rows, hidden, inner);
    float[] before = in24Bits(x, lowBefore);
    for (int i = 0; i < sum.length; i++) {
      sum[i] += before[i];
    }
    float[] after = gpu.readNumbers(xDevice, rows * hidden);
    assertThat(Gpu.error(after, sum)).as("residual").isLessThan(gpu.tolerance(fp8));
    float[] left = in24Bits(after, gpu.read(lowDevice, (long) rows * hidden));
    assertThat(Gpu.error(left, sum)).as("residual in 24 bits").isLessThan(fp8 ? 2e-3 : 2e-5);
    if (fp8) {
      float[] scale = gpu.readFloats(scales, rows);
      Fp8Numbers.check(Fp8Numbers.scaled(fp8Numbers.codes(codes, rows, hidden), scale, hidden),
          Reference.toDouble(left), hidden, scale, 0);
    }
    float[] all = gpu.readFloats(squares, capacity * gemm.squareParts());
    for (int i = 0; i < rows; i++) {
      double total = 0;
      for (int part = 0; part < gemm.squareParts(); part++) {
        total += all[part * capacity + i];
      }
      assertThat(total / Reference.squareSum(left, i, hidden)).as("squares of row %d", i).isBetween(0.9999, 1.0001);
    }
  }

  /** Tokens for which outputs of SwiGLU are the largest that any token can have: E4M3 holds their codes. */
  @Test
  void codesHoldTheLargestOutputs() {
    Random random = new Random(11);
    int hidden = 576;
    int inner = 320;
    ModelConfig config = TestShapes.llama(hidden, 9, 3, 64, inner);
    Kernels kernels = gpu.kernels(config);
    float[] gateUp = gpu.random(random, 2 * inner * hidden, 1);
    long other = gpu.numbers(gpu.random(random, 960 * hidden, 1));
    CudaWeights.Layer layer = new CudaWeights.Layer(other, other, gpu.numbers(gateUp), other, 0, 0);
    Fp8Weights weights =
        Fp8Weights.of(gpu.device, kernels, new CudaWeights(config, 0, List.of(layer), 0, gpu.rope(config)));
    GemmProducts.Matrix matrix = weights.layer(0).gateUp();
    float[] numbers = fp8Numbers.numbers(matrix, 2 * inner, hidden);
    float[] x = new float[inner * hidden];
    float[] squares = new float[inner];
    for (int i = 0; i < inner; i++) {
      // Between the rows of gate and up, in the direction in which the product is positive.
      int gate = i / 8 * 16 + i % 8;
      double gateNorm = Math.sqrt(Reference.squareSum(numbers, gate, hidden));
      double upNorm = Math.sqrt(Reference.squareSum(numbers, gate + 8, hidden));
      for (int j = 0; j < hidden; j++) {
        x[i * hidden + j] = gpu.round((float) (
            numbers[gate * hidden + j] / gateNorm + numbers[(gate + 8) * hidden + j] / upNorm));
      }
      squares[i] = Reference.squareSum(x, i, hidden);
    }
    Operand xs = operand(kernels, x, inner, hidden, 384, true);
    long activated = gpu.poisoned(384L * inner);
    long norms = gpu.ints(new int[2 * inner]);
    new GemmProducts(gpu.device, config, kernels).gateUp(
        new GemmProducts.Input(xs.address, inner, 384, gpu.floats(squares), 1, xs.scales, norms), matrix, activated);
    double[] expected = Reference.multiply(xs.numbers, numbers, inner, 2 * inner, hidden);
    Reference.scaleRows(expected, Reference.normFactors(x, inner, hidden, 1e-5), 2 * inner);
    double[] swiglu = Reference.swiglu(expected, inner, inner);
    float[] codes = fp8Numbers.codes(activated, inner, inner);
    float[] ones = new float[inner];
    Arrays.fill(ones, 1);
    Fp8Numbers.check(codes, swiglu, inner, ones, 6e-3);
    for (int i = 0; i < inner; i++) {
      assertThat(swiglu[i * inner + i]).as("largest output %d", i).isBetween(224.0, 448.0);
    }
    weights.free(gpu.device);
  }

  /** What a number of 16 bits and its next eight bits are. */
  private float[] in24Bits(float[] high, byte[] low) {
    int rest = gpu.numbers == Numbers.FP16 ? 5 : 8;
    float[] numbers = new float[high.length];
    for (int i = 0; i < high.length; i++) {
      numbers[i] = Float.intBitsToFloat(Float.floatToRawIntBits(high[i]) + (low[i] << rest));
    }
    return numbers;
  }

  /**
   * Rows on the device and the numbers that they stand for.
   *
   * @param scales 0 in 16 bits
   */
  private record Operand(long address, long scales, long largestNorm, float[] numbers) {

    GemmProducts.Matrix matrix() {
      return new GemmProducts.Matrix(address, scales, largestNorm);
    }
  }

  /** Quantised on the device when {@code fp8}, and what that makes of them is checked. */
  private Operand operand(Kernels kernels, float[] values, int rows, int columns, int capacity, boolean fp8) {
    long unscaled = gpu.poisoned(2L * capacity * columns);
    gpu.device.copy(unscaled, gpu.numbers(values), 2L * rows * columns);
    if (!fp8) {
      return new Operand(unscaled, 0, 0, values);
    }
    long codes = gpu.poisoned((long) capacity * columns);
    long scales = gpu.poisoned(4L * capacity);
    long norms = gpu.poisoned(8L * rows);
    long largest = gpu.poisoned(4);
    long cleared = gpu.poisoned(8L * rows);
    kernels.quantiseRows.launch(rows, 1, 256, unscaled, 0L, codes, scales, norms, cleared, columns);
    kernels.largestNorm.launch(1, 1, 1024, scales, norms, rows, largest);
    float[] scale = gpu.readFloats(scales, rows);
    float[] numbers = fp8Numbers.codes(codes, rows, columns);
    fp8Numbers.checkNorms(norms, numbers, rows, columns);
    assertThat(gpu.read(cleared, 8L * rows)).containsOnly(0);
    Fp8Numbers.scaled(numbers, scale, columns);
    double norm = IntStream.range(0, rows).mapToDouble(i -> Math.sqrt(Reference.squareSum(numbers, i, columns))).max()
        .orElseThrow();
    assertThat(gpu.readFloats(largest, 1)[0] / norm).isBetween(0.9999, 1.0001);
    Fp8Numbers.check(numbers, Reference.toDouble(values), columns, scale, 0);
    return new Operand(codes, scales, largest, numbers);
  }

  @Test
  void cublasProducts() {
    Random random = new Random(3);
    try (CublasLt library = new CublasLt(gpu.device, gpu.numbers)) {
      int outputs = 960;
      int inputs = 576;
      float[] w = gpu.random(random, outputs * inputs, 1 / Math.sqrt(inputs));
      CublasLt.Product product = library.new Product(gpu.numbers(w), outputs, inputs);
      for (int rows : new int[] {1, 37, 160, 500}) {
        float[] x = gpu.random(random, rows * inputs, 1);
        float[] before = gpu.random(random, rows * outputs, 1);
        long out = gpu.numbers(before);
        product.run(gpu.numbers(x), out, rows, true);
        double[] expected = Reference.multiply(x, w, rows, outputs, inputs);
        for (int i = 0; i < expected.length; i++) {
          expected[i] += before[i];
        }
        assertThat(Gpu.error(gpu.readNumbers(out, expected.length), expected))
            .as("%d rows", rows).isLessThan(gpu.tolerance());
      }
    }
  }
}
