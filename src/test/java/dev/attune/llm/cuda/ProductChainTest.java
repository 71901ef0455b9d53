package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.ProductChain.Phase;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The products between two attentions against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class ProductChainTest {

  private final Gpu gpu;
  private final Fp8Numbers fp8Numbers;

  ProductChainTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
    fp8Numbers = new Fp8Numbers(gpu);
  }

  /** What tokens in E4M3 stand for, with a scale for each 128 inputs of a row. */
  private float[] inSteps(float[] values, int columns) {
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

  private float[] toFloat(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  /** A number of tokens and a model. */
  record Case(int tokens, int hidden, int heads, int kvHeads, int headSize, int inner, boolean fp8) {

    ModelConfig config() {
      return TestShapes.llama(hidden, heads, kvHeads, headSize, inner);
    }
  }

  static List<Case> cases() {
    return List.of(new Case(17, 2304, 36, 4, 64, 704, false), new Case(64, 2304, 20, 2, 128, 832, false),
        new Case(1, 2304, 36, 4, 64, 704, false), new Case(17, 2304, 20, 2, 128, 704, true),
        new Case(1, 2304, 20, 2, 128, 832, true), new Case(64, 2304, 20, 2, 128, 832, true),
        new Case(37, 2304, 20, 2, 128, 3008, true), new Case(48, 4096, 32, 8, 128, 2112, false),
        new Case(48, 4096, 32, 8, 128, 2112, true));
  }

  /** Some tokens, and how many parts attention left of each. */
  record Parted(int tokens, int heads, int kvHeads, int headSize, int parts, boolean fp8) {

    ModelConfig config() {
      return TestShapes.llama(2304, heads, kvHeads, headSize, 2240);
    }
  }

  static List<Parted> partedCases() {
    return List.of(new Parted(17, 36, 4, 64, 3, false), new Parted(48, 20, 2, 128, 16, false),
        new Parted(1, 36, 4, 64, 90, false), new Parted(17, 20, 2, 128, 3, true), new Parted(48, 20, 2, 128, 16, true),
        new Parted(1, 20, 2, 128, 90, true));
  }

  @BeforeAll
  static void compile(Gpu gpu) {
    List<Gpu.Source> sources = new ArrayList<>();
    for (Case each : cases()) {
      sources.add(source(gpu, each.config(), each.fp8, each.tokens));
      sources.add(source(gpu, each.config(), each.fp8, 1));
    }
    for (Parted each : partedCases()) {
      sources.add(source(gpu, each.config(), each.fp8, each.tokens));
    }
    gpu.compile(sources);
  }

  private static Gpu.Source source(Gpu gpu, ModelConfig config, boolean fp8, int tokens) {
    return new Gpu.Source(
        "chain.cu", ProductChain.options(config, fp8, (tokens + 15) / 16 * 16, gpu.device.multiprocessors));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void productsBetweenTwoAttentions(Case shape) {
    int tokens = shape.tokens;
    int hidden = shape.hidden;
    int heads = shape.heads;
    int kvHeads = shape.kvHeads;
    int headSize = shape.headSize;
    int inner = shape.inner;
    boolean fp8 = shape.fp8;
    Random random = new Random(tokens);
    ModelConfig config = shape.config();
    assertThat(ProductChain.fits(config)).isTrue();
    int attention = heads * headSize;
    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] wQkv = gpu.matrix(random, qkvWidth, hidden, 1 / Math.sqrt(hidden));
    float[] wOut = gpu.matrix(random, hidden, attention, 1 / Math.sqrt(attention));
    float[] wGateUp = gpu.matrix(random, 2 * inner, hidden, 1 / Math.sqrt(hidden));
    float[] wDown = gpu.matrix(random, hidden, inner, 1 / Math.sqrt(inner));
    CudaWeights.Layer layer =
        new CudaWeights.Layer(gpu.numbers(wQkv), gpu.numbers(wOut), gpu.numbers(wGateUp), gpu.numbers(wDown), 0, 0);
    Kernels kernels = gpu.kernels(config);
    CudaWeights weights = new CudaWeights(config, 0, List.of(layer, layer), 0, gpu.rope(config));
    Fp8Weights quantised = fp8 ? Fp8Weights.of(gpu.device, kernels, weights) : null;
    if (quantised != null) {
      Fp8Weights.Layer codes = quantised.layer(1);
      wQkv = fp8Numbers.numbers(codes.qkv(), qkvWidth, hidden);
      wOut = fp8Numbers.numbers(codes.attentionOutput(), hidden, attention);
      wGateUp = fp8Numbers.numbers(codes.gateUp(), 2 * inner, hidden);
      wDown = fp8Numbers.numbers(codes.down(), hidden, inner);
    }
    // Rows that are no tokens hold anything.
    int rows = SkinnyProducts.MAX_TOKENS;
    ProductChain.Buffers buffers = new ProductChain.Buffers(gpu.poisoned(2L * rows * attention),
        gpu.poisoned(2L * rows * hidden), gpu.poisoned(4L * rows * hidden), gpu.poisoned(2L * rows * inner),
        gpu.poisoned(2L * rows * attention));
    ProductChain chain = new ProductChain(gpu.device, kernels, weights, quantised, buffers);
    float[] mixed = gpu.random(random, tokens * attention, 1);
    float[] before = gpu.random(random, tokens * hidden, 1);
    long mixedDevice = gpu.numbers(mixed);
    long beforeDevice = gpu.floats(before);
    Runnable reset = () -> {
      gpu.device.copy(buffers.mixed(), mixedDevice, 2L * tokens * attention);
      gpu.device.copy(buffers.residual(), beforeDevice, 4L * tokens * hidden);
    };
    int[] positions = random.ints(tokens, 0, 4096).toArray();
    long positionsDevice = gpu.ints(positions);
    long kvBytes = 2L * 4 * kvHeads * tokens * headSize;
    long segment = gpu.poisoned(kvBytes);
    long places = gpu.ints(Gpu.places(segment, tokens));

    reset.run();
    chain.run(Phase.OUTPUT, Phase.OUTPUT, 0, tokens, places, positionsDevice, null);
    checkResidual(buffers, before,
        Reference.multiply(fp8 ? inSteps(mixed, attention) : mixed, wOut, tokens, hidden, attention), fp8);
    float[] between = gpu.readFloats(buffers.residual(), tokens * hidden);
    float[] x = fp8 ? inSteps(between, hidden) : gpu.readNumbers(buffers.x(), tokens * hidden);

    chain.run(Phase.GATE_UP, Phase.GATE_UP, 0, tokens, places, positionsDevice, null);
    double[] expected = Reference.multiply(x, wGateUp, tokens, 2 * inner, hidden);
    Reference.scaleRows(expected, Reference.normFactors(between, tokens, hidden, 1e-5), 2 * inner);
    float[] inside = gpu.readNumbers(buffers.inner(), tokens * inner);
    assertThat(Gpu.error(inside, Reference.swiglu(expected, tokens, inner)))
        .as("SwiGLU").isLessThan(gpu.tolerance(fp8));

    chain.run(Phase.DOWN, Phase.QKV, 0, tokens, places, positionsDevice, null);
    checkResidual(buffers, between,
        Reference.multiply(fp8 ? inSteps(inside, inner) : inside, wDown, tokens, hidden, inner), fp8);
    float[] after = gpu.readFloats(buffers.residual(), tokens * hidden);
    x = fp8 ? inSteps(after, hidden) : gpu.readNumbers(buffers.x(), tokens * hidden);
    double[] qkv = Reference.multiply(x, wQkv, tokens, qkvWidth, hidden);
    Reference.scaleRows(qkv, Reference.normFactors(after, tokens, hidden, 1e-5), qkvWidth);
    QkvCheck.check(gpu, gpu.tolerance(fp8), config, qkv.clone(), positions, tokens, 1, buffers.q(), segment);
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
    chain.run(Phase.OUTPUT, Phase.QKV, 0, 1, gpu.ints(Gpu.places(segment, 1)), gpu.ints(positions[last]), null);
    assertThat(gpu.readFloats(buffers.residual(), hidden))
        .isEqualTo(Arrays.copyOfRange(after, last * hidden, tokens * hidden));
    assertThat(gpu.read(buffers.q(), 2L * attention))
        .isEqualTo(Arrays.copyOfRange(queries, 2 * last * attention, 2 * tokens * attention));

    // The first of all products finds the sums of squares in one part.
    float[] squares = new float[rows];
    for (int i = 0; i < tokens; i++) {
      squares[i] = Reference.squareSum(after, i, hidden);
    }
    gpu.device.copy(buffers.x(), gpu.numbers(x), 2L * tokens * hidden);
    gpu.device.copy(buffers.residual(), gpu.floats(after), 4L * tokens * hidden);
    gpu.device.copy(chain.squares(), gpu.floats(squares), 4L * rows);
    chain.run(Phase.QKV, Phase.QKV, 1, tokens, places, positionsDevice, null);
    QkvCheck.check(gpu, gpu.tolerance(fp8), config, qkv, positions, tokens, 1, buffers.q(), segment);
  }

  /** Parts that attention left are put together before the first product. */
  @ParameterizedTest
  @MethodSource("partedCases")
  void productsAfterPartsOfAttention(Parted shape) {
    int tokens = shape.tokens;
    int heads = shape.heads;
    int kvHeads = shape.kvHeads;
    int headSize = shape.headSize;
    int parts = shape.parts;
    boolean fp8 = shape.fp8;
    Random random = new Random(tokens);
    ModelConfig config = shape.config();
    int hidden = config.hidden();
    int attention = heads * headSize;
    int tileRows = 192;
    int group = heads / kvHeads;
    int tiles = (tokens * group + tileRows - 1) / tileRows;
    int rows = SkinnyProducts.MAX_TOKENS;
    float[] wOut = gpu.matrix(random, hidden, attention, 1 / Math.sqrt(attention));
    long unused = gpu.poisoned(2L * 2 * config.feedForward() * hidden);
    CudaWeights.Layer layer = new CudaWeights.Layer(unused, gpu.numbers(wOut), unused, unused, 0, 0);
    CudaWeights weights = new CudaWeights(config, 0, List.of(layer), 0, gpu.rope(config));
    Kernels kernels = gpu.kernels(config);
    Fp8Weights quantised = fp8 ? Fp8Weights.of(gpu.device, kernels, weights) : null;
    if (quantised != null) {
      wOut = fp8Numbers.numbers(quantised.layer(0).attentionOutput(), hidden, attention);
    }
    ProductChain.Buffers buffers = new ProductChain.Buffers(gpu.poisoned(2L * rows * attention),
        gpu.poisoned(2L * rows * hidden), gpu.floats(new float[rows * hidden]), 0, 0);
    ProductChain chain = new ProductChain(gpu.device, kernels, weights, quantised, buffers);

    // [part][KV head][row of a tile], parts of a tile together.
    int count = tiles * parts * kvHeads * tileRows;
    float[] out = gpu.random(random, count * headSize, 1);
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
    float[] together = fp8 ? inSteps(toFloat(mixed), attention) : gpu.readNumbers(buffers.mixed(), tokens * attention);
    if (!fp8) {
      assertThat(Gpu.error(together, mixed)).isLessThan(gpu.tolerance());
    }
    checkResidual(buffers, new float[tokens * hidden], Reference.multiply(together, wOut, tokens, hidden, attention),
        fp8);
  }

  /** The tensor cores' sums of FP8 are shorter than fp32. */
  private void checkResidual(ProductChain.Buffers buffers, float[] before, double[] sum, boolean fp8) {
    for (int i = 0; i < sum.length; i++) {
      sum[i] += before[i];
    }
    assertThat(Gpu.error(gpu.readFloats(buffers.residual(), sum.length), sum)).as("residual")
        .isLessThan(fp8 ? 2e-3 : 1e-4);
    assertThat(Gpu.error(gpu.readNumbers(buffers.x(), sum.length), sum)).as("rounded").isLessThan(gpu.tolerance(fp8));
  }
}
