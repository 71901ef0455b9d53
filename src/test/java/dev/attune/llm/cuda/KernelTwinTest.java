package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.RopeScaling;
import dev.attune.llm.cuda.Kernels.Epilogue;
import dev.attune.llm.cuda.ProductChain.Phase;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Each kernel against what it should compute, in double precision, on sizes that fill no tile. Tolerances are those of
 * bf16 operands and results with fp32 sums. Skipped, saying so, without a GPU.
 */
class KernelTwinTest {

  /** Between 1e-3 and 1e-2 is what bf16 gives. */
  private static final double TOLERANCE = 6e-3;

  private static final double THETA = 10_000;

  private static Gpu gpu;

  @BeforeAll
  static void open() {
    gpu = Gpu.open();
  }

  @AfterAll
  static void close() {
    if (gpu != null) {
      gpu.close();
    }
  }

  static ModelConfig shape(int hidden, int heads, int kvHeads, int headSize, int feedForward) {
    return new ModelConfig("llama", "test", 2, hidden, heads, kvHeads, headSize, feedForward, 512, 4096, THETA,
        RopeScaling.NONE, 1e-5);
  }

  private static Kernels kernels(ModelConfig config) {
    return kernels(gpu, config);
  }

  static Kernels kernels(Gpu gpu, ModelConfig config) {
    return new Kernels(gpu.device, gpu.compiler, config);
  }

  private static long rope(ModelConfig config) {
    return CudaWeights.ropeTable(gpu.device, config);
  }

  /** Rows of one segment for rows of a batch, in reverse order, so that a wrong row shows. */
  private static int[] places(long segment, int rows) {
    int[] places = new int[4 * rows];
    for (int i = 0; i < rows; i++) {
      places[4 * i] = (int) segment;
      places[4 * i + 1] = (int) (segment >>> 32);
      places[4 * i + 2] = rows - 1 - i;
      places[4 * i + 3] = rows;
    }
    return places;
  }

  private static float squareSum(float[] x, int row, int width) {
    double sum = 0;
    for (int j = 0; j < width; j++) {
      sum += (double) x[row * width + j] * x[row * width + j];
    }
    return (float) sum;
  }

  @ParameterizedTest
  @CsvSource({"1,576", "17,576", "160,128", "37,4096"})
  void embeddingAndNorm(int rows, int hidden) {
    Random random = new Random(rows);
    Kernels kernels = kernels(shape(hidden, 9, 3, 64, 128));
    float[] table = Gpu.random(random, 500 * hidden, 1);
    int[] tokens = random.ints(rows, 0, 500).toArray();
    long x = gpu.poisoned(2L * rows * hidden);
    long x32 = gpu.poisoned(4L * rows * hidden);
    long low = gpu.poisoned(2L * rows * hidden);
    long squares = gpu.poisoned(4L * rows);
    kernels.embed.launch(rows, 1, 128, gpu.ints(tokens), gpu.bf16(table), x, x32, low, squares, rows, hidden);
    long normed = gpu.poisoned(2L * rows * hidden);
    kernels.rmsNorm.launch(rows, 1, 128, x, normed, hidden, 1e-5f);
    float[] expected = new float[rows * hidden];
    for (int i = 0; i < rows; i++) {
      System.arraycopy(table, tokens[i] * hidden, expected, i * hidden, hidden);
    }
    assertThat(gpu.readBf16(x, rows * hidden)).isEqualTo(expected);
    assertThat(gpu.readFloats(x32, rows * hidden)).isEqualTo(expected);
    assertThat(gpu.readBf16(low, rows * hidden)).containsOnly(0);
    double[] sums = IntStream.range(0, rows).mapToDouble(i -> squareSum(expected, i, hidden)).toArray();
    assertThat(Gpu.error(gpu.readFloats(squares, rows), sums)).isLessThan(1e-5);
    double[] scaled = toDouble(expected);
    Reference.scaleRows(scaled, Reference.normFactors(expected, rows, hidden, 1e-5), hidden);
    assertThat(Gpu.error(gpu.readBf16(normed, rows * hidden), scaled)).isLessThan(TOLERANCE);
  }

  private static double[] toDouble(float[] values) {
    return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
  }

  @ParameterizedTest
  @CsvSource({"1,9,3,64", "37,6,2,64", "17,8,2,128"})
  void rotationsAndKeeping(int rows, int heads, int kvHeads, int headSize) {
    Random random = new Random(rows);
    ModelConfig config = shape(128, heads, kvHeads, headSize, 128);
    int width = (heads + 2 * kvHeads) * headSize;
    float[] qkv = Gpu.random(random, rows * width, 1);
    int[] positions = random.ints(rows, 0, 4096).toArray();
    long segment = gpu.poisoned(2L * 4 * kvHeads * rows * headSize);
    long q = gpu.poisoned(2L * rows * heads * headSize);
    kernels(config).ropeKeep.launch(rows, 1, 128, gpu.bf16(qkv), q, gpu.ints(places(segment, rows)), gpu.ints(positions),
        rope(config), 1, heads, kvHeads, heads + 2 * kvHeads, headSize);
    checkQkv(config, toDouble(qkv), positions, rows, 1, q, segment);
  }

  /** {@code qkv} is not yet rotated; the layer's keys and values lie behind those of the layers before. */
  private static void checkQkv(
      ModelConfig config, double[] qkv, int[] positions, int rows, int layer, long q, long segment) {
    int d = config.headSize();
    int heads = config.heads();
    int kvHeads = config.kvHeads();
    int width = (heads + 2 * kvHeads) * d;
    double[] queries = new double[rows * heads * d];
    double[] kept = new double[2 * kvHeads * rows * d];
    for (int i = 0; i < rows; i++) {
      for (int h = 0; h < heads + 2 * kvHeads; h++) {
        if (h < heads + kvHeads) {
          Reference.rotate(qkv, i * width + h * d, d, positions[i], THETA);
        }
        double[] to = h < heads ? queries : kept;
        int at = h < heads ? (i * heads + h) * d : ((h - heads) * rows + rows - 1 - i) * d;
        System.arraycopy(qkv, i * width + h * d, to, at, d);
      }
    }
    assertThat(Gpu.error(gpu.readBf16(q, queries.length), queries)).as("queries").isLessThan(TOLERANCE);
    long block = segment + 2L * 2 * layer * kvHeads * rows * d;
    assertThat(Gpu.error(gpu.readBf16(block, kept.length), kept)).as("keys and values").isLessThan(TOLERANCE);
  }

  @Test
  void swiglu() {
    Random random = new Random(5);
    int rows = 37;
    int width = 192;
    float[] gateUp = Gpu.random(random, rows * 2 * width, 2);
    long out = gpu.poisoned(2L * rows * width);
    long groups = rows * width / 8;
    kernels(shape(128, 6, 2, 64, width)).swiglu.launch(
        (int) (groups + 255) / 256, 1, 256, gpu.bf16(gateUp), out, groups, width);
    double[] expected = Reference.swiglu(toDouble(gateUp), rows, width);
    assertThat(Gpu.error(gpu.readBf16(out, rows * width), expected)).isLessThan(TOLERANCE);
  }

  @ParameterizedTest
  @CsvSource({
    "1,192,64,576,false", "127,192,64,576,false", "160,256,64,576,false", "500,192,64,832,false",
    "37,192,64,832,false", "257,192,64,576,false", "97,256,64,832,false", "4600,192,64,576,false", "4600,192,64,832,false",
    "37,256,128,576,false", "130,256,128,1088,false", "1,192,64,576,true", "257,192,64,1600,true", "37,256,64,576,true",
    "4600,256,64,832,true", "130,256,128,1600,true"
  })
  void productsOfManyRows(int rows, int tile, int headSize, int hidden, boolean fp8) {
    Random random = new Random(rows);
    int heads = headSize == 64 ? 9 : 4;
    int kvHeads = headSize == 64 ? 3 : 2;
    int inner = 320;
    ModelConfig config = shape(hidden, heads, kvHeads, headSize, inner);
    Kernels kernels = kernels(config);
    GemmProducts gemm = new GemmProducts(gpu.device, config, kernels);
    for (Epilogue epilogue : List.of(Epilogue.QKV, Epilogue.RESIDUAL, Epilogue.SWIGLU)) {
      gemm.width(epilogue, tile);
    }
    float[] x = Gpu.random(random, rows * hidden, 1);
    int capacity = (rows + 127) / 128 * 128;
    long xDevice = gpu.poisoned(2L * capacity * hidden);
    gpu.device.copy(xDevice, gpu.bf16(x), 2L * rows * hidden);
    // The sums of squares come in two parts.
    float[] parts = new float[2 * capacity];
    for (int i = 0; i < rows; i++) {
      float sum = squareSum(x, i, hidden);
      parts[i] = sum / 4;
      parts[capacity + i] = sum - sum / 4;
    }
    Operand xs = operand(kernels, x, rows, hidden, capacity, fp8);
    GemmProducts.Input in = new GemmProducts.Input(xs.address, rows, capacity, gpu.floats(parts), 2, xs.scales);
    double[] factors = Reference.normFactors(x, rows, hidden, 1e-5);

    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] w = Gpu.random(random, qkvWidth * hidden, 1 / Math.sqrt(hidden));
    int[] positions = random.ints(rows, 0, 4096).toArray();
    long segment = gpu.poisoned(2L * 4 * kvHeads * rows * headSize);
    long q = gpu.poisoned(2L * rows * heads * headSize);
    Operand ws = operand(kernels, w, qkvWidth, hidden, qkvWidth, fp8);
    gemm.qkv(in, ws.matrix(), 0, qkvWidth,
        new GemmProducts.Places(q, gpu.ints(places(segment, rows)), gpu.ints(positions), rope(config)), 1);
    double[] qkv = Reference.multiply(xs.numbers, ws.numbers, rows, qkvWidth, hidden);
    Reference.scaleRows(qkv, factors, qkvWidth);
    checkQkv(config, qkv, positions, rows, 1, q, segment);

    float[] gateUp = Gpu.random(random, 2 * inner * hidden, 1 / Math.sqrt(hidden));
    long activated = gpu.poisoned(2L * capacity * inner);
    ws = operand(kernels, gateUp, 2 * inner, hidden, 2 * inner, fp8);
    gemm.gateUp(in, ws.matrix(), activated);
    double[] expected = Reference.multiply(xs.numbers, ws.numbers, rows, 2 * inner, hidden);
    Reference.scaleRows(expected, factors, 2 * inner);
    float[] inside = gpu.readBf16(activated, rows * inner);
    assertThat(Gpu.error(inside, Reference.swiglu(expected, rows, inner))).as("SwiGLU").isLessThan(TOLERANCE);

    float[] down = Gpu.random(random, hidden * inner, 1 / Math.sqrt(inner));
    float[] lowBefore = Gpu.random(random, rows * hidden, 1e-3);
    long lowDevice = gpu.bf16(lowBefore);
    long squares = gpu.poisoned(4L * capacity * gemm.squareParts());
    xs = operand(kernels, inside, rows, inner, capacity, fp8);
    ws = operand(kernels, down, hidden, inner, hidden, fp8);
    gemm.residual(new GemmProducts.Input(xs.address, rows, capacity, 0, 0, xs.scales), ws.matrix(), inner, xDevice,
        lowDevice, squares);
    double[] sum = Reference.multiply(xs.numbers, ws.numbers, rows, hidden, inner);
    for (int i = 0; i < sum.length; i++) {
      sum[i] += x[i] + lowBefore[i];
    }
    float[] after = gpu.readBf16(xDevice, rows * hidden);
    assertThat(Gpu.error(after, sum)).as("residual").isLessThan(TOLERANCE);
    float[] left = gpu.readBf16(lowDevice, rows * hidden);
    for (int i = 0; i < sum.length; i++) {
      left[i] += after[i];
    }
    assertThat(Gpu.error(left, sum)).as("residual in two parts").isLessThan(fp8 ? 2e-3 : 2e-5);
    float[] all = gpu.readFloats(squares, capacity * gemm.squareParts());
    for (int i = 0; i < rows; i++) {
      double total = 0;
      for (int part = 0; part < gemm.squareParts(); part++) {
        total += all[part * capacity + i];
      }
      assertThat(total / squareSum(left, i, hidden)).as("squares of row %d", i).isBetween(0.9999, 1.0001);
    }
  }

  /**
   * Rows on the device and the numbers that they stand for.
   *
   * @param scales 0 in bf16
   */
  private record Operand(long address, long scales, float[] numbers) {

    GemmProducts.Matrix matrix() {
      return new GemmProducts.Matrix(address, scales);
    }
  }

  /** Quantised on the device when {@code fp8}, and what that makes of them is checked. */
  private static Operand operand(Kernels kernels, float[] values, int rows, int columns, int capacity, boolean fp8) {
    long bf16 = gpu.poisoned(2L * capacity * columns);
    gpu.device.copy(bf16, gpu.bf16(values), 2L * rows * columns);
    if (!fp8) {
      return new Operand(bf16, 0, values);
    }
    long codes = gpu.poisoned((long) capacity * columns);
    long scales = gpu.poisoned(4L * capacity);
    kernels.quantiseRows.launch(rows, 1, 256, bf16, codes, scales, columns);
    float[] scale = gpu.readFloats(scales, rows);
    float[] numbers = numbers(new GemmProducts.Matrix(codes, scales), rows, columns);
    for (int i = 0; i < numbers.length; i++) {
      int row = i / columns;
      // Three bits follow the first; the smallest step is 2^-9.
      double most = Math.abs(values[i]) / 15.9 + scale[row] / 1023;
      if (!(Math.abs(numbers[i] - values[i]) <= most)) {
        throw new AssertionError("Number %d of row %d is %g, not %g".formatted(i % columns, row, numbers[i], values[i]));
      }
    }
    return new Operand(codes, scales, numbers);
  }

  /** What a matrix in FP8 stands for. */
  private static float[] numbers(GemmProducts.Matrix matrix, int rows, int columns) {
    byte[] codes = gpu.read(matrix.address(), (long) rows * columns);
    float[] scales = gpu.readFloats(matrix.scales(), rows);
    float[] numbers = new float[rows * columns];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = e4m3(codes[i]) * scales[i / columns];
    }
    return numbers;
  }

  /** What tokens in E4M3 stand for, with a scale for each 128 inputs of a row. */
  private static float[] inSteps(float[] values, int columns) {
    float[] result = new float[values.length];
    for (int row = 0; row < values.length; row += columns) {
      for (int first = row; first < row + columns; first += 128) {
        int end = Math.min(first + 128, row + columns);
        float top = 0;
        for (int i = first; i < end; i++) {
          top = Math.max(top, Math.abs(values[i]));
        }
        for (int i = first; i < end; i++) {
          result[i] = nearestE4m3(values[i] * (448 / top)) * (top / 448);
        }
      }
    }
    return result;
  }

  /** Ties go to the even code. */
  static float nearestE4m3(float value) {
    int exponent = Math.max(-6, Math.getExponent(value));
    return Math.scalb((float) Math.rint(Math.scalb(value, 3 - exponent)), exponent - 3);
  }

  private static float[] toFloat(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  private static float e4m3(byte code) {
    int exponent = code >> 3 & 15;
    int mantissa = code & 7;
    float value = exponent == 0 ? mantissa / 512f : (float) Math.scalb(8 + mantissa, exponent - 10);
    return code < 0 ? -value : value;
  }

  @ParameterizedTest
  @CsvSource({"1,576,9,3,64,1536", "7,576,9,3,64,1536", "13,128,6,2,64,192", "48,576,9,3,64,1536", "30,576,9,3,64,1536",
    "64,576,9,3,64,1536", "48,4096,8,2,128,4160", "1,4096,8,2,128,4160", "17,2112,6,2,64,2240"})
  void productsOfFewTokens(int tokens, int hidden, int heads, int kvHeads, int headSize, int inner) {
    Random random = new Random(tokens);
    ModelConfig config = shape(hidden, heads, kvHeads, headSize, inner);
    int attention = heads * headSize;
    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] x = Gpu.random(random, tokens * hidden, 1);
    float[] wQkv = Gpu.random(random, qkvWidth * hidden, 1 / Math.sqrt(hidden));
    float[] wOut = Gpu.random(random, hidden * attention, 1 / Math.sqrt(attention));
    float[] wGateUp = Gpu.random(random, 2 * inner * hidden, 1 / Math.sqrt(hidden));
    float[] wDown = Gpu.random(random, hidden * inner, 1 / Math.sqrt(inner));
    float[] wLogits = Gpu.random(random, 512 * hidden, 1 / Math.sqrt(hidden));
    CudaWeights.Layer layer =
        new CudaWeights.Layer(gpu.bf16(wQkv), gpu.bf16(wOut), gpu.bf16(wGateUp), gpu.bf16(wDown), 0, 0);
    CudaWeights weights = new CudaWeights(config, 0, List.of(layer, layer), gpu.bf16(wLogits), rope(config));
    SkinnyProducts products = new SkinnyProducts(gpu.device, kernels(config), weights);
    long xDevice = gpu.bf16(x);
    double[] factors = Reference.normFactors(x, tokens, hidden, 1e-5);

    int[] positions = random.ints(tokens, 0, 4096).toArray();
    long segment = gpu.poisoned(2L * 4 * kvHeads * tokens * headSize);
    long q = gpu.poisoned(2L * tokens * attention);
    products.qkv(1, xDevice, 0, tokens, q, gpu.ints(places(segment, tokens)), gpu.ints(positions));
    double[] qkv = Reference.multiply(x, wQkv, tokens, qkvWidth, hidden);
    Reference.scaleRows(qkv, factors, qkvWidth);
    checkQkv(config, qkv.clone(), positions, tokens, 1, q, segment);
    float[] all = gpu.readBf16(q, tokens * attention);

    // Queries of picked rows are bit for bit those of all rows.
    int[] pick = {tokens - 1, 0};
    long picked = gpu.poisoned(2L * 2 * attention);
    products.qkv(1, xDevice, gpu.ints(pick), 2, picked, 0, gpu.ints(positions));
    float[] both = gpu.readBf16(picked, 2 * attention);
    assertThat(Arrays.copyOf(both, attention))
        .isEqualTo(Arrays.copyOfRange(all, (tokens - 1) * attention, tokens * attention));
    assertThat(Arrays.copyOfRange(both, attention, 2 * attention)).isEqualTo(Arrays.copyOf(all, attention));

    long activated = gpu.poisoned(2L * tokens * inner);
    products.gateUp(1, xDevice, tokens, activated);
    double[] expected = Reference.multiply(x, wGateUp, tokens, 2 * inner, hidden);
    Reference.scaleRows(expected, factors, 2 * inner);
    float[] inside = gpu.readBf16(activated, tokens * inner);
    assertThat(Gpu.error(inside, Reference.swiglu(expected, tokens, inner))).as("SwiGLU").isLessThan(TOLERANCE);

    for (boolean down : new boolean[] {false, true}) {
      float[] before = Gpu.random(random, tokens * hidden, 1);
      long residual = gpu.floats(before);
      long rounded = gpu.poisoned(2L * tokens * hidden);
      float[] input = down ? inside : all;
      if (down) {
        products.down(1, activated, tokens, residual, rounded);
      } else {
        products.attentionOutput(1, q, tokens, residual, rounded);
      }
      double[] sum = Reference.multiply(input, down ? wDown : wOut, tokens, hidden, down ? inner : attention);
      for (int i = 0; i < sum.length; i++) {
        sum[i] += before[i];
      }
      assertThat(Gpu.error(gpu.readFloats(residual, sum.length), sum)).as("residual").isLessThan(1e-4);
      assertThat(Gpu.error(gpu.readBf16(rounded, sum.length), sum)).as("rounded").isLessThan(TOLERANCE);
    }

    long logits = gpu.poisoned(4L * tokens * 512);
    products.logits(xDevice, 0, tokens, logits);
    double[] wanted = Reference.multiply(x, wLogits, tokens, 512, hidden);
    Reference.scaleRows(wanted, factors, 512);
    assertThat(Gpu.error(gpu.readFloats(logits, tokens * 512), wanted)).as("logits").isLessThan(1e-4);
  }

  @ParameterizedTest
  @CsvSource({"17,2304,36,4,64,704,false", "64,2304,20,2,128,832,false", "1,2304,36,4,64,704,false",
    "17,2304,20,2,128,704,true", "1,2304,20,2,128,832,true", "64,2304,20,2,128,832,true", "37,2304,20,2,128,3008,true",
    "48,4096,32,8,128,2112,false", "48,4096,32,8,128,2112,true"})
  void productsBetweenTwoAttentions(
      int tokens, int hidden, int heads, int kvHeads, int headSize, int inner, boolean fp8) {
    Random random = new Random(tokens);
    ModelConfig config = shape(hidden, heads, kvHeads, headSize, inner);
    assertThat(ProductChain.fits(config)).isTrue();
    int attention = heads * headSize;
    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] wQkv = Gpu.random(random, qkvWidth * hidden, 1 / Math.sqrt(hidden));
    float[] wOut = Gpu.random(random, hidden * attention, 1 / Math.sqrt(attention));
    float[] wGateUp = Gpu.random(random, 2 * inner * hidden, 1 / Math.sqrt(hidden));
    float[] wDown = Gpu.random(random, hidden * inner, 1 / Math.sqrt(inner));
    CudaWeights.Layer layer =
        new CudaWeights.Layer(gpu.bf16(wQkv), gpu.bf16(wOut), gpu.bf16(wGateUp), gpu.bf16(wDown), 0, 0);
    Kernels kernels = kernels(config);
    CudaWeights weights = new CudaWeights(config, 0, List.of(layer, layer), 0, rope(config));
    Fp8Weights quantised = fp8 ? new Fp8Weights(gpu.device, kernels, weights) : null;
    if (quantised != null) {
      Fp8Weights.Layer codes = quantised.layer(1);
      wQkv = numbers(codes.qkv(), qkvWidth, hidden);
      wOut = numbers(codes.attentionOutput(), hidden, attention);
      wGateUp = numbers(codes.gateUp(), 2 * inner, hidden);
      wDown = numbers(codes.down(), hidden, inner);
    }
    // Rows that are no tokens hold anything.
    int rows = SkinnyProducts.MAX_TOKENS;
    ProductChain.Buffers buffers = new ProductChain.Buffers(gpu.poisoned(2L * rows * attention),
        gpu.poisoned(2L * rows * hidden), gpu.poisoned(4L * rows * hidden), gpu.poisoned(2L * rows * inner),
        gpu.poisoned(2L * rows * attention));
    ProductChain chain = new ProductChain(gpu.device, kernels, weights, quantised, buffers);
    float[] mixed = Gpu.random(random, tokens * attention, 1);
    float[] before = Gpu.random(random, tokens * hidden, 1);
    long mixedDevice = gpu.bf16(mixed);
    long beforeDevice = gpu.floats(before);
    Runnable reset = () -> {
      gpu.device.copy(buffers.mixed(), mixedDevice, 2L * tokens * attention);
      gpu.device.copy(buffers.residual(), beforeDevice, 4L * tokens * hidden);
    };
    int[] positions = random.ints(tokens, 0, 4096).toArray();
    long positionsDevice = gpu.ints(positions);
    long kvBytes = 2L * 4 * kvHeads * tokens * headSize;
    long segment = gpu.poisoned(kvBytes);
    long places = gpu.ints(places(segment, tokens));

    reset.run();
    chain.run(Phase.OUTPUT, Phase.OUTPUT, 0, tokens, places, positionsDevice, null);
    checkResidual(buffers, before,
        Reference.multiply(fp8 ? inSteps(mixed, attention) : mixed, wOut, tokens, hidden, attention), fp8);
    float[] between = gpu.readFloats(buffers.residual(), tokens * hidden);
    float[] x = fp8 ? inSteps(between, hidden) : gpu.readBf16(buffers.x(), tokens * hidden);

    chain.run(Phase.GATE_UP, Phase.GATE_UP, 0, tokens, places, positionsDevice, null);
    double[] expected = Reference.multiply(x, wGateUp, tokens, 2 * inner, hidden);
    Reference.scaleRows(expected, Reference.normFactors(between, tokens, hidden, 1e-5), 2 * inner);
    float[] inside = gpu.readBf16(buffers.inner(), tokens * inner);
    assertThat(Gpu.error(inside, Reference.swiglu(expected, tokens, inner))).as("SwiGLU").isLessThan(TOLERANCE);

    chain.run(Phase.DOWN, Phase.QKV, 0, tokens, places, positionsDevice, null);
    checkResidual(buffers, between,
        Reference.multiply(fp8 ? inSteps(inside, inner) : inside, wDown, tokens, hidden, inner), fp8);
    float[] after = gpu.readFloats(buffers.residual(), tokens * hidden);
    x = fp8 ? inSteps(after, hidden) : gpu.readBf16(buffers.x(), tokens * hidden);
    double[] qkv = Reference.multiply(x, wQkv, tokens, qkvWidth, hidden);
    Reference.scaleRows(qkv, Reference.normFactors(after, tokens, hidden, 1e-5), qkvWidth);
    checkQkv(config, qkv.clone(), positions, tokens, 1, buffers.q(), segment);
    byte[] queries = gpu.read(buffers.q(), 2L * tokens * attention);
    byte[] kept = gpu.read(segment, kvBytes);

    // All at once, again and again: the same bits.
    for (int i = 0; i < 20; i++) {
      reset.run();
      gpu.device.fill(buffers.q(), 0xff, 2L * rows * attention);
      gpu.device.fill(segment, 0xff, kvBytes);
      chain.run(Phase.OUTPUT, Phase.QKV, 0, tokens, places, positionsDevice, null);
      assertThat(gpu.readFloats(buffers.residual(), tokens * hidden)).as("run %d", i).isEqualTo(after);
      assertThat(gpu.read(buffers.q(), queries.length)).as("run %d", i).isEqualTo(queries);
      assertThat(gpu.read(segment, kvBytes)).as("run %d", i).isEqualTo(kept);
    }

    // The last token alone.
    int last = tokens - 1;
    gpu.device.copy(buffers.mixed(), mixedDevice + 2L * last * attention, 2L * attention);
    gpu.device.copy(buffers.residual(), beforeDevice + 4L * last * hidden, 4L * hidden);
    chain.run(Phase.OUTPUT, Phase.QKV, 0, 1, gpu.ints(places(segment, 1)), gpu.ints(positions[last]), null);
    assertThat(gpu.readFloats(buffers.residual(), hidden))
        .isEqualTo(Arrays.copyOfRange(after, last * hidden, tokens * hidden));
    assertThat(gpu.read(buffers.q(), 2L * attention))
        .isEqualTo(Arrays.copyOfRange(queries, 2 * last * attention, 2 * tokens * attention));

    // The first of all products finds the sums of squares in one part.
    float[] squares = new float[rows];
    for (int i = 0; i < tokens; i++) {
      squares[i] = squareSum(after, i, hidden);
    }
    gpu.device.copy(buffers.x(), gpu.bf16(x), 2L * tokens * hidden);
    gpu.device.copy(buffers.residual(), gpu.floats(after), 4L * tokens * hidden);
    gpu.device.copy(chain.squares(), gpu.floats(squares), 4L * rows);
    chain.run(Phase.QKV, Phase.QKV, 1, tokens, places, positionsDevice, null);
    checkQkv(config, qkv, positions, tokens, 1, buffers.q(), segment);
  }

  /** Parts that attention left are put together before the first product. */
  @ParameterizedTest
  @CsvSource({"17,36,4,64,3,false", "48,20,2,128,16,false", "1,36,4,64,90,false", "17,20,2,128,3,true",
    "48,20,2,128,16,true", "1,20,2,128,90,true"})
  void productsAfterPartsOfAttention(int tokens, int heads, int kvHeads, int headSize, int parts, boolean fp8) {
    Random random = new Random(tokens);
    int hidden = 2304;
    ModelConfig config = shape(hidden, heads, kvHeads, headSize, 2240);
    int attention = heads * headSize;
    int tileRows = 192;
    int group = heads / kvHeads;
    int tiles = (tokens * group + tileRows - 1) / tileRows;
    int rows = SkinnyProducts.MAX_TOKENS;
    float[] wOut = Gpu.random(random, hidden * attention, 1 / Math.sqrt(attention));
    long unused = gpu.poisoned(2L * 2 * config.feedForward() * hidden);
    CudaWeights.Layer layer = new CudaWeights.Layer(unused, gpu.bf16(wOut), unused, unused, 0, 0);
    CudaWeights weights = new CudaWeights(config, 0, List.of(layer), 0, rope(config));
    Kernels kernels = kernels(config);
    Fp8Weights quantised = fp8 ? new Fp8Weights(gpu.device, kernels, weights) : null;
    if (quantised != null) {
      wOut = numbers(quantised.layer(0).attentionOutput(), hidden, attention);
    }
    ProductChain.Buffers buffers = new ProductChain.Buffers(gpu.poisoned(2L * rows * attention),
        gpu.poisoned(2L * rows * hidden), gpu.floats(new float[rows * hidden]), 0, 0);
    ProductChain chain = new ProductChain(gpu.device, kernels, weights, quantised, buffers);

    // [part][KV head][row of a tile], parts of a tile together.
    int count = tiles * parts * kvHeads * tileRows;
    float[] out = Gpu.random(random, count * headSize, 1);
    float[] sums = new float[2 * count];
    for (int i = 0; i < count; i++) {
      sums[2 * i] = (float) (random.nextGaussian() * 3);
      sums[2 * i + 1] = 1 + random.nextFloat();
    }
    int[] items = new int[4 * tiles];
    for (int tile = 0; tile < tiles; tile++) {
      items[4 * tile + 1] = tile;
      items[4 * tile + 2] = tile * parts;
      items[4 * tile + 3] = parts;
    }
    double[] mixed = new double[tokens * attention];
    for (int head = 0; head < heads; head++) {
      for (int token = 0; token < tokens; token++) {
        int row = token * group + head % group;
        int first = (row / tileRows * parts * kvHeads + head / group) * tileRows + row % tileRows;
        double sum = 0;
        double[] merged = new double[headSize];
        for (int part = 0; part < parts; part++) {
          int at = first + part * kvHeads * tileRows;
          double weight = Math.pow(2, sums[2 * at]);
          sum += weight * sums[2 * at + 1];
          for (int d = 0; d < headSize; d++) {
            merged[d] += weight * out[at * headSize + d];
          }
        }
        for (int d = 0; d < headSize; d++) {
          mixed[(token * heads + head) * headSize + d] = merged[d] / sum;
        }
      }
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment merge = new Struct(arena, 64).put(gpu.floats(out)).put(gpu.floats(sums))
          .put(gpu.ints(0, tokens, 0, 0)).put(gpu.ints(items)).put(gpu.ints(tiles)).put(buffers.mixed()).put(heads)
          .put(kvHeads).put(tileRows).put(0).memory();
      chain.run(Phase.OUTPUT, Phase.OUTPUT, 0, tokens, 0, gpu.ints(new int[tokens]), merge);
    }
    float[] together = fp8 ? inSteps(toFloat(mixed), attention) : gpu.readBf16(buffers.mixed(), tokens * attention);
    if (!fp8) {
      assertThat(Gpu.error(together, mixed)).isLessThan(TOLERANCE);
    }
    checkResidual(buffers, new float[tokens * hidden], Reference.multiply(together, wOut, tokens, hidden, attention),
        fp8);
  }

  /** The tensor cores' sums of FP8 are shorter than fp32. */
  private static void checkResidual(ProductChain.Buffers buffers, float[] before, double[] sum, boolean fp8) {
    for (int i = 0; i < sum.length; i++) {
      sum[i] += before[i];
    }
    assertThat(Gpu.error(gpu.readFloats(buffers.residual(), sum.length), sum)).as("residual")
        .isLessThan(fp8 ? 2e-3 : 1e-4);
    assertThat(Gpu.error(gpu.readBf16(buffers.x(), sum.length), sum)).as("rounded").isLessThan(TOLERANCE);
  }

  @ParameterizedTest
  @CsvSource({"64,9,3,1,0", "64,9,3,17,1", "64,9,3,37,500", "64,9,3,97,127", "64,9,3,160,64", "64,9,3,48,8192",
    "64,9,3,500,0", "64,6,2,1,600", "64,9,3,1,8192", "64,9,3,4,100", "128,8,2,1,600", "128,8,2,48,3000",
    "128,8,2,160,64", "128,8,2,97,1", "128,8,2,2,0"})
  void attention(int headSize, int heads, int kvHeads, int tokens, int contextTokens) {
    ModelConfig config = shape(128, heads, kvHeads, headSize, 128);
    Kernels kernels = kernels(config);
    boolean decode = tokens * heads / kvHeads <= 16;
    // Decoding over int8 is RaggedKernelTest's.
    for (boolean int8 : decode ? new boolean[] {false} : new boolean[] {false, true}) {
      attention(config, kernels, decode ? kernels.decodeAttention : kernels.wideAttention, tokens, contextTokens, int8);
    }
  }

  private static void attention(ModelConfig config, Kernels kernels, Kernels.Attention attention, int tokens,
      int contextTokens, boolean int8) {
    boolean decode = attention == kernels.decodeAttention;
    int headSize = config.headSize();
    int heads = config.heads();
    int kvHeads = config.kvHeads();
    Random random = new Random(tokens);
    // Two sequences of different lengths, so that offsets are not zero.
    List<float[][]> numbers = new ArrayList<>();
    List<CudaKvSegment> context = new ArrayList<>();
    for (int left = contextTokens; left > 0; ) {
      int n = Math.min(left, 1 + random.nextInt(left > 1000 ? 900 : 200));
      CudaKvSegment whole = segment(config, random, n, numbers);
      // One of three stays as it is, so that tiles have both.
      context.add(int8 && context.size() % 3 != 1 ? quantised(kernels, whole, numbers.getLast()) : whole);
      left -= n;
    }
    CudaKvSegment own = segment(config, random, tokens, numbers);
    int fewer = (tokens + 1) / 2;
    CudaKvSegment other = segment(config, random, fewer, numbers);
    BatchPlan.Sequence first = new BatchPlan.Sequence(new int[fewer], 0, context, other, false);
    BatchPlan.Sequence second = new BatchPlan.Sequence(new int[tokens], 0, context, own, false);
    int part = decode ? 64 : 512;
    List<BatchPlan.Sequence> batch = List.of(first, second);
    BatchPlan plan = new BatchPlan(gpu.device, config, kernels, BatchPlan.needs(config, batch, attention, part));
    plan.lay(batch, attention, part);
    plan.upload();
    int rows = plan.rows();
    float[] q = Gpu.random(random, rows * heads * headSize, 1.5);
    double[] expected = new double[rows * heads * headSize];
    for (int i = 0; i < rows; i++) {
      boolean inFirst = i < fewer;
      int last = inFirst ? i : i - fewer;
      for (int h = 0; h < heads; h++) {
        int kvHead = h / (heads / kvHeads);
        float[][] keys = new float[contextTokens + last + 1][];
        float[][] values = new float[keys.length][];
        int[] at = new int[keys.length];
        int j = 0;
        for (int s = 0; s <= context.size(); s++) {
          float[][] from = numbers.get(s < context.size() ? s : inFirst ? s + 1 : s);
          int n = s < context.size() ? context.get(s).tokens() : last + 1;
          for (int t = 0; t < n; t++, j++) {
            keys[j] = from[kvHead];
            values[j] = from[kvHeads + kvHead];
            at[j] = t * headSize;
          }
        }
        int to = (i * heads + h) * headSize;
        System.arraycopy(Reference.attend(q, to, keys, values, at, keys.length, headSize), 0, expected, to, headSize);
      }
    }
    long queries = gpu.bf16(q);
    // Twice: counters of parts must be as before.
    for (int run = 0; run < 2; run++) {
      long out = gpu.poisoned(2L * rows * heads * headSize);
      AttentionLauncher.Launch launch =
          new AttentionLauncher(gpu.device, config, kernels).new Launch(attention, plan, queries, out);
      launch.run(1, plan.itemCount(), launch.merges());
      assertThat(Gpu.error(gpu.readBf16(out, expected.length), expected))
          .as("tiles of %d rows, int8 %s, run %d", attention.tileRows(), int8, run)
          .isLessThan(TOLERANCE);
    }
  }

  /** The segment in int8; its numbers become those that int8 stands for, and are checked against the device's. */
  private static CudaKvSegment quantised(Kernels kernels, CudaKvSegment whole, float[][] numbers) {
    CudaKvSegment.Shape shape = whole.shape.in(KvCodec.INT8);
    long address = gpu.poisoned(shape.bytes());
    CudaKvSegment coded = new CudaKvSegment(shape, address, whole.contentId());
    kernels.quantise.launch(
        shape.blocks(), 1, 256, whole.address(), coded.reference(), shape.slots(), shape.kvHeads(), shape.headSize());
    int d = shape.headSize();
    long at = address + shape.kvHeads() * (shape.keyBytes() + shape.valueBytes());
    for (int b = 0; b < numbers.length; b++) {
      boolean value = b >= shape.kvHeads();
      int scales = value ? (shape.slots() + 3) / 4 * 4 : d;
      float[] scale = gpu.readFloats(at, scales);
      byte[] stored = gpu.read(at + 4L * scales, (long) shape.slots() * d);
      for (int i = 0; i < stored.length; i++) {
        float largest = 0;
        for (int j = 0; j < (value ? d : shape.slots()); j++) {
          largest = Math.max(largest, Math.abs(numbers[b][value ? i / d * d + j : j * d + i % d]));
        }
        float expected = largest / 127;
        int number = value ? i / d : i % d;
        assertThat(scale[number]).as("scale %d of block %d", number, b).isEqualTo(expected);
        assertThat((int) stored[i]).isEqualTo((int) Math.rint(numbers[b][i] * (expected > 0 ? 1 / expected : 0)));
        // Once the last of a channel has been looked at, nobody needs it any more.
        if (value && i % d == d - 1) {
          for (int j = i - d + 1; j <= i; j++) {
            numbers[b][j] = Gpu.round(stored[j] * expected);
          }
        }
      }
      for (int i = 0; !value && i < stored.length; i++) {
        numbers[b][i] = Gpu.round(stored[i] * scale[i % d]);
      }
      at += value ? shape.valueBytes() : shape.keyBytes();
    }
    return coded;
  }

  @ParameterizedTest
  @CsvSource({"64,3,37", "64,3,160", "128,2,1", "128,2,97"})
  void slotsAreGathered(int headSize, int kvHeads, int tokens) {
    ModelConfig config = shape(128, 3 * kvHeads, kvHeads, headSize, 128);
    Kernels kernels = kernels(config);
    Random random = new Random(tokens);
    List<float[][]> numbers = new ArrayList<>();
    SegmentEditor editor = new SegmentEditor(gpu.device, kernels, new SegmentMemory(gpu.device, 1 << 30));
    CudaKvSegment whole = segment(config, random, tokens, numbers);
    CudaKvSegment int8 = quantised(kernels, segment(config, random, tokens, numbers), numbers.getLast());
    int[] some = IntStream.range(0, tokens).filter(i -> i % 3 == 0).toArray();
    checkSlots(editor.gather(List.of(whole), some, KvCodec.BF16, 0, tokens), numbers.get(0), some);
    checkSlots(editor.gather(List.of(int8), some, KvCodec.BF16, 0, tokens), numbers.get(1), some);
    CudaKvSegment kept = editor.gather(List.of(int8), some, KvCodec.INT8, 0, tokens);
    assertThat(kept.reduced()).isEqualTo(some.length < tokens);
    int[] all = IntStream.range(0, some.length).toArray();
    checkSlots(editor.gather(List.of(kept), all, KvCodec.BF16, 0, tokens), numbers.get(1), some);
    int[] both = IntStream.range(0, 2 * tokens).filter(i -> i % 2 == 0 || i > tokens).toArray();
    CudaKvSegment joined = editor.gather(List.of(whole, int8), both, KvCodec.BF16, 0, 2 * tokens);
    float[][] two = new float[numbers.get(0).length][];
    for (int b = 0; b < two.length; b++) {
      two[b] = Arrays.copyOf(numbers.get(0)[b], 2 * tokens * headSize);
      System.arraycopy(numbers.get(1)[b], 0, two[b], tokens * headSize, tokens * headSize);
    }
    checkSlots(joined, two, both);
  }

  private static void checkSlots(CudaKvSegment segment, float[][] numbers, int[] slots) {
    CudaKvSegment.Shape shape = segment.shape;
    int d = shape.headSize();
    for (int b = 0; b < numbers.length; b++) {
      float[] actual = gpu.readBf16(segment.address() + (numbers.length + b) * shape.keyBytes(), slots.length * d);
      for (int i = 0; i < slots.length; i++) {
        assertThat(Arrays.copyOfRange(actual, i * d, (i + 1) * d)).as("block %d, slot %d", b, slots[i])
            .isEqualTo(Arrays.copyOfRange(numbers[b], slots[i] * d, (slots[i] + 1) * d));
      }
    }
  }

  /** A segment of two layers with random numbers in the second; adds {@code [2 * kvHeads][tokens * headSize]}. */
  private static CudaKvSegment segment(ModelConfig config, Random random, int tokens, List<float[][]> numbers) {
    CudaKvSegment.Shape shape =
        CudaKvSegment.Shape.whole(config.kvHeads(), config.headSize(), tokens, 2, 2, 0);
    long address = gpu.poisoned(shape.bytes());
    float[][] blocks = new float[2 * config.kvHeads()][];
    for (int b = 0; b < blocks.length; b++) {
      blocks[b] = Gpu.random(random, tokens * config.headSize(), 1);
      gpu.device.copy(address + (blocks.length + b) * shape.keyBytes(), gpu.bf16(blocks[b]), shape.keyBytes());
    }
    numbers.add(blocks);
    return new CudaKvSegment(shape, address, numbers.size());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 17, 37, 97, 127, 160, 500})
  void probes(int documents) {
    probes(shape(128, 9, 3, 64, 128), documents, 2);
    probes(shape(128, 8, 2, 128, 128), documents, documents == 37 ? 5 : 1);
  }

  private static void probes(ModelConfig config, int documents, int rows) {
    Random random = new Random(documents);
    Kernels kernels = kernels(config);
    int d = config.headSize();
    int heads = config.heads();
    int group = heads / config.kvHeads();
    List<float[][]> numbers = new ArrayList<>();
    List<CudaKvSegment> segments = new ArrayList<>();
    for (int i = 0; i < documents; i++) {
      CudaKvSegment whole = segment(config, random, 1 + random.nextInt(i == 3 ? 3000 : 60), numbers);
      segments.add(i % 4 == 2 ? quantised(kernels, whole, numbers.getLast()) : whole);
    }
    BatchPlan.Sequence last = new BatchPlan.Sequence(new int[rows], 0, segments, segments.getFirst(), false);
    BatchPlan plan = new BatchPlan(gpu.device, config, kernels,
        BatchPlan.needs(config, List.of(last), kernels.wideAttention, 64));
    plan.lay(List.of(last), kernels.wideAttention, 64);
    plan.probe(segments);
    plan.upload();
    float[] q = Gpu.random(random, rows * heads * d, 1);
    ProbeLauncher probe = new ProbeLauncher(gpu.device, config, kernels);
    probe.reserve(documents);
    probe.run(plan, 1, rows, gpu.bf16(q));
    double[] expected = new double[documents];
    for (int r = 0; r < rows; r++) {
      for (int h = 0; h < heads; h++) {
        double[] mass = new double[documents];
        double total = 0;
        for (int i = 0; i < documents; i++) {
          float[] keys = numbers.get(i)[h / group];
          for (int t = 0; t < segments.get(i).tokens(); t++) {
            double sum = 0;
            for (int j = 0; j < d; j++) {
              sum += (double) q[(r * heads + h) * d + j] * keys[t * d + j];
            }
            mass[i] += Math.exp(sum / Math.sqrt(d));
          }
          total += mass[i];
        }
        for (int i = 0; i < documents; i++) {
          expected[i] += mass[i] / total / rows / heads;
        }
      }
    }
    // The reference has int8 numbers rounded to bf16, the kernel has not.
    assertThat(Gpu.error(gpu.readFloats(probe.masses(), documents), expected)).isLessThan(documents > 2 ? 2e-3 : 1e-4);
  }

  @Test
  void cublasProducts() {
    Random random = new Random(3);
    try (CublasLt library = new CublasLt(gpu.device)) {
      int outputs = 960;
      int inputs = 576;
      float[] w = Gpu.random(random, outputs * inputs, 1 / Math.sqrt(inputs));
      CublasLt.Product product = library.new Product(gpu.bf16(w), outputs, inputs);
      for (int rows : new int[] {1, 37, 160, 500}) {
        float[] x = Gpu.random(random, rows * inputs, 1);
        float[] before = Gpu.random(random, rows * outputs, 1);
        long out = gpu.bf16(before);
        product.run(gpu.bf16(x), out, rows, true);
        double[] expected = Reference.multiply(x, w, rows, outputs, inputs);
        for (int i = 0; i < expected.length; i++) {
          expected[i] += before[i];
        }
        assertThat(Gpu.error(gpu.readBf16(out, expected.length), expected)).as("%d rows", rows).isLessThan(TOLERANCE);
      }
    }
  }
}
