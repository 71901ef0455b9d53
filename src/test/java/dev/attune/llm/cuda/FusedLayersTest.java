package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Layers in one kernel against the kernels that {@link FewTokensProductTest} and {@link AttentionKernelTest} check, one
 * after the other. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class FusedLayersTest {

  /** More than the sets of activations that take turns. */
  private static final int LAYERS = 5;

  private final Gpu gpu;

  FusedLayersTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  /** A last block over a context, and a model. */
  record Alone(int tokens, int hidden, int heads, int kvHeads, int inner, int contextTokens, boolean int8) {}

  static List<Alone> alone() {
    return List.of(new Alone(48, 576, 9, 3, 1536, 1000, false), new Alone(48, 576, 9, 3, 1536, 9000, true),
        new Alone(17, 576, 9, 3, 1536, 5, false), new Alone(64, 128, 6, 2, 192, 777, true),
        new Alone(64, 576, 9, 3, 1536, 900, false),
        new Alone(30, 960, 15, 5, 2560, 3000, false), new Alone(6, 576, 9, 3, 1536, 160, true));
  }

  /** Last blocks of some lengths, each over another context of at most so many tokens, and a model. */
  record Together(int hidden, int heads, int kvHeads, int inner, List<Integer> tokens, int contextTokens) {}

  static List<Together> together() {
    return List.of(new Together(576, 9, 3, 1536, List.of(48, 48, 48, 48, 48, 48, 48, 48), 1500),
        new Together(576, 9, 3, 1536, List.of(48, 17, 33, 48, 6, 41), 3000),
        new Together(576, 9, 3, 1536, List.of(7, 3), 40), new Together(128, 6, 2, 192, List.of(64, 50, 64), 700),
        new Together(576, 9, 3, 1536, List.of(64, 50, 64), 700), new Together(640, 10, 2, 1536, List.of(48, 20, 30), 500),
        new Together(960, 15, 5, 2560, List.of(30, 12), 900));
  }

  @BeforeAll
  static void compile(Gpu gpu) {
    Set<Gpu.Source> sources = new LinkedHashSet<>();
    for (Alone each : alone()) {
      sources.add(source(config(each.hidden, each.heads, each.kvHeads, each.inner), each.tokens, each.int8, 1));
    }
    for (Together each : together()) {
      ModelConfig config = config(each.hidden, each.heads, each.kvHeads, each.inner);
      for (boolean int8 : new boolean[] {false, true}) {
        each.tokens.forEach(tokens -> sources.add(source(config, tokens, int8, 1)));
        sources.add(source(config, Collections.max(each.tokens), int8, FusedLayers.MOST));
      }
    }
    gpu.compile(sources);
  }

  private static Gpu.Source source(ModelConfig config, int tokens, boolean int8, int most) {
    return new Gpu.Source(
        Kernels.LAYERS, Kernels.layersOptions(config, SkinnyProducts.tokenTiles(tokens), int8, most));
  }

  private static ModelConfig config(int hidden, int heads, int kvHeads, int inner) {
    return TestShapes.llama(LAYERS, hidden, heads, kvHeads, 64, inner);
  }

  @ParameterizedTest
  @MethodSource("alone")
  void layersAreThoseOfSingleKernels(Alone one) {
    int tokens = one.tokens;
    int hidden = one.hidden;
    int inner = one.inner;
    Random random = new Random(tokens + one.contextTokens);
    ModelConfig config = config(hidden, one.heads, one.kvHeads, inner);
    assertThat(FusedLayers.fits(config)).isTrue();
    Kernels kernels = gpu.kernels(config);
    int attention = one.heads * 64;
    CudaWeights weights = weights(config, random);
    List<BatchPlan.Sequence> batch = List.of(lastBlock(config, kernels, random, tokens, one.contextTokens, one.int8));
    CudaKvSegment own = batch.getFirst().own();
    Kernels.Attention tiles = kernels.wideAttention;
    BatchPlan plan = planned(config, kernels, batch);

    float[] start = gpu.random(random, tokens * hidden, 1);
    long q = gpu.poisoned(2L * 64 * attention);
    long mixed = gpu.poisoned(2L * 64 * attention);
    AttentionLauncher.Launch attend =
        new AttentionLauncher(gpu.device, config, kernels).new Launch(tiles, plan, q, mixed);
    long x = gpu.numbers(start);
    long residual = gpu.floats(start);
    long activated = gpu.poisoned(2L * 64 * inner);
    SkinnyProducts products = new SkinnyProducts(gpu.device, kernels, weights);
    for (int layer = 0; layer < config.layers(); layer++) {
      products.qkv(layer, x, 0, tokens, q, plan.places, plan.positions);
      attend.run(layer, plan.itemCount(), attend.merges());
      products.attentionOutput(layer, mixed, tokens, residual, x);
      products.gateUp(layer, x, tokens, activated);
      products.down(layer, activated, tokens, residual, x);
    }
    double[] expected = Reference.toDouble(gpu.readFloats(residual, tokens * hidden));
    double[] kept = Reference.toDouble(keysAndValues(own));

    long startRounded = gpu.numbers(start);
    long startFloats = gpu.floats(start);
    FusedLayers fused = new FusedLayers(gpu.device, kernels, weights);
    float[] before = null;
    // Several times: counters must be as before, and nothing may depend on who comes first.
    for (int run = 0; run < 20; run++) {
      gpu.device.fill(own.address(), 0xff, own.bytes());
      gpu.device.copy(x, startRounded, 2L * tokens * hidden);
      gpu.device.copy(residual, startFloats, 4L * tokens * hidden);
      fused.run(plan, attend, config.layers(), x, residual);
      float[] after = gpu.readFloats(residual, tokens * hidden);
      assertThat(Gpu.error(after, expected)).as("residual, run %d", run).isLessThan(gpu.tolerance(1e-2));
      assertThat(Gpu.error(gpu.readNumbers(x, tokens * hidden), expected)).as("rounded, run %d", run)
          .isLessThan(gpu.tolerance(1.2e-2));
      assertThat(Gpu.error(keysAndValues(own), kept)).as("keys and values, run %d", run)
          .isLessThan(gpu.tolerance(1.2e-2));
      if (before != null) {
        assertThat(after).as("run %d", run).isEqualTo(before);
      }
      before = after;
    }
  }

  /** Some of them without int8. */
  @ParameterizedTest
  @MethodSource("together")
  void lastBlocksTogetherAreWhatTheyAreAlone(Together some) {
    int hidden = some.hidden;
    Random random = new Random(hidden + some.contextTokens);
    ModelConfig config = config(hidden, some.heads, some.kvHeads, some.inner);
    Kernels kernels = gpu.kernels(config);
    FusedLayers fused = new FusedLayers(gpu.device, kernels, weights(config, random));
    AttentionLauncher launcher = new AttentionLauncher(gpu.device, config, kernels);
    List<BatchPlan.Sequence> all = new ArrayList<>();
    for (int n : some.tokens) {
      all.add(lastBlock(config, kernels, random, n, 1 + random.nextInt(some.contextTokens), random.nextBoolean()));
    }
    int rows = some.tokens.stream().mapToInt(Integer::intValue).sum();
    float[] start = gpu.random(random, rows * hidden, 1);
    long x = gpu.numbers(start);
    long residual = gpu.floats(start);
    List<float[]> alone = new ArrayList<>();
    int row = 0;
    for (BatchPlan.Sequence one : all) {
      BatchPlan plan = planned(config, kernels, List.of(one));
      fused.run(plan, launcher.new Launch(kernels.wideAttention, plan, 0, 0), LAYERS, x + 2L * row * hidden,
          residual + 4L * row * hidden);
      row += one.tokens().length;
      alone.add(keysAndValues(one.own()));
    }
    float[] rounded = gpu.readNumbers(x, rows * hidden);
    float[] sums = gpu.readFloats(residual, rows * hidden);

    BatchPlan plan = planned(config, kernels, all);
    AttentionLauncher.Launch attend = launcher.new Launch(kernels.wideAttention, plan, 0, 0);
    long startRounded = gpu.numbers(start);
    long startFloats = gpu.floats(start);
    for (int run = 0; run < 20; run++) {
      all.forEach(one -> gpu.device.fill(one.own().address(), 0xff, one.own().bytes()));
      gpu.device.copy(x, startRounded, 2L * rows * hidden);
      gpu.device.copy(residual, startFloats, 4L * rows * hidden);
      fused.run(plan, attend, LAYERS, x, residual);
      assertThat(gpu.readFloats(residual, rows * hidden)).as("residual, run %d", run).isEqualTo(sums);
      assertThat(gpu.readNumbers(x, rows * hidden)).as("rounded, run %d", run).isEqualTo(rounded);
      for (int i = 0; i < all.size(); i++) {
        assertThat(keysAndValues(all.get(i).own())).as("keys and values of %d, run %d", i, run).isEqualTo(alone.get(i));
      }
    }
    assertThat(Reference.toDouble(sums)).doesNotContain(Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY);
  }

  private BatchPlan planned(ModelConfig config, Kernels kernels, List<BatchPlan.Sequence> batch) {
    Kernels.Attention tiles = kernels.wideAttention;
    BatchPlan plan = new BatchPlan(gpu.device, config, kernels, BatchCapacity.of(config, batch, tiles, 64));
    plan.layInTurn(batch, tiles, 64);
    plan.upload();
    return plan;
  }

  private CudaWeights weights(ModelConfig config, Random random) {
    int attention = config.heads() * 64;
    int qkv = (config.heads() + 2 * config.kvHeads()) * 64;
    int hidden = config.hidden();
    int inner = config.feedForward();
    List<CudaWeights.Layer> layers = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      layers.add(new CudaWeights.Layer(matrix(random, qkv, hidden), matrix(random, hidden, attention),
          matrix(random, 2 * inner, hidden), matrix(random, hidden, inner), 0, 0));
    }
    while (layers.size() < LAYERS) {
      layers.add(layers.get(layers.size() - 2));
    }
    return new CudaWeights(config, 0, layers, 0, CudaWeights.ropeTable(gpu.device, config));
  }

  private BatchPlan.Sequence lastBlock(
      ModelConfig config, Kernels kernels, Random random, int tokens, int contextTokens, boolean int8) {
    List<CudaKvSegment> context = new ArrayList<>();
    for (int left = contextTokens; left > 0; ) {
      int n = Math.min(left, 1 + random.nextInt(200));
      CudaKvSegment whole = segment(config, kernels, random, n, true);
      context.add(int8 && context.size() % 3 != 1 ? quantised(kernels, whole) : whole);
      left -= n;
    }
    return new BatchPlan.Sequence(new int[tokens], Math.min(contextTokens, 4000), context,
        segment(config, kernels, random, tokens, false), false);
  }

  private long matrix(Random random, int outputs, int inputs) {
    return gpu.numbers(gpu.random(random, outputs * inputs, 1 / Math.sqrt(inputs)));
  }

  private float[] keysAndValues(CudaKvSegment segment) {
    return gpu.readNumbers(segment.address(), (int) (segment.bytes() / 2));
  }

  private CudaKvSegment segment(ModelConfig config, Kernels kernels, Random random, int tokens, boolean filled) {
    CudaKvSegment.Shape shape =
        CudaKvSegment.Shape.whole(kernels.numbers.codec, config.kvHeads(), 64, tokens, LAYERS, LAYERS, 0);
    long address = gpu.poisoned(shape.bytes());
    if (filled) {
      kernels.fillNormal.launch(256, 1, 256, address, shape.bytes() / 2, 0f, 1f, random.nextLong());
    }
    return new CudaKvSegment(shape, address, random.nextLong());
  }

  private CudaKvSegment quantised(Kernels kernels, CudaKvSegment whole) {
    CudaKvSegment.Shape shape = whole.shape.in(KvCodec.INT8);
    CudaKvSegment coded = new CudaKvSegment(shape, gpu.poisoned(shape.bytes()), whole.contentId());
    kernels.quantise.launch(
        shape.blocks(), 1, 256, whole.address(), coded.reference(), shape.slots(), shape.kvHeads(), shape.headSize());
    return coded;
  }
}
