package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.Kernels.Epilogue;
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
 * Products of few tokens against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class FewTokensProductTest {

  /** Rows of which queries are computed alone. */
  private static final int PICKED = 2;

  private final Gpu gpu;

  FewTokensProductTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  /** A number of tokens and a model. */
  record Case(int tokens, int hidden, int heads, int kvHeads, int headSize, int inner) {

    ModelConfig config() {
      return TestShapes.llama(hidden, heads, kvHeads, headSize, inner);
    }
  }

  static List<Case> cases() {
    return List.of(new Case(1, 576, 9, 3, 64, 1536), new Case(7, 576, 9, 3, 64, 1536),
        new Case(13, 128, 6, 2, 64, 192), new Case(48, 576, 9, 3, 64, 1536), new Case(30, 576, 9, 3, 64, 1536),
        new Case(64, 576, 9, 3, 64, 1536), new Case(48, 4096, 8, 2, 128, 4160), new Case(1, 4096, 8, 2, 128, 4160),
        new Case(17, 2112, 6, 2, 64, 2240));
  }

  @BeforeAll
  static void compile(Gpu gpu) {
    gpu.compile(List.of());
    List<Gpu.Source> sources = new ArrayList<>();
    for (Case each : cases()) {
      ModelConfig config = each.config();
      Kernels kernels = gpu.kernels(config);
      int attention = each.heads * each.headSize;
      int qkv = attention + 2 * each.kvHeads * each.headSize;
      sources.add(source(kernels, config, Epilogue.QKV, qkv, each.hidden, each.tokens));
      sources.add(source(kernels, config, Epilogue.QKV, attention, each.hidden, PICKED));
      sources.add(source(kernels, config, Epilogue.RESIDUAL, each.hidden, attention, each.tokens));
      sources.add(source(kernels, config, Epilogue.RESIDUAL, each.hidden, each.inner, each.tokens));
      sources.add(source(kernels, config, Epilogue.SWIGLU, 2 * each.inner, each.hidden, each.tokens));
      sources.add(source(kernels, config, Epilogue.LOGITS, config.vocabulary(), each.hidden, each.tokens));
    }
    gpu.compile(sources);
  }

  private static Gpu.Source source(
      Kernels kernels, ModelConfig config, Epilogue epilogue, int outputs, int inputs, int tokens) {
    Kernels.SkinnyShape shape = kernels.skinnyShape(epilogue, outputs, inputs);
    return new Gpu.Source("skinny.cu", Kernels.skinnyOptions(
        config, epilogue, shape, inputs, SkinnyProducts.share(shape, tokens).tokenTiles()));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void productsOfFewTokens(Case each) {
    int tokens = each.tokens;
    int hidden = each.hidden;
    int heads = each.heads;
    int kvHeads = each.kvHeads;
    int headSize = each.headSize;
    int inner = each.inner;
    Random random = new Random(tokens);
    ModelConfig config = each.config();
    int attention = heads * headSize;
    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] x = gpu.random(random, tokens * hidden, 1);
    float[] wQkv = gpu.matrix(random, qkvWidth, hidden, 1 / Math.sqrt(hidden));
    float[] wOut = gpu.matrix(random, hidden, attention, 1 / Math.sqrt(attention));
    float[] wGateUp = gpu.matrix(random, 2 * inner, hidden, 1 / Math.sqrt(hidden));
    float[] wDown = gpu.matrix(random, hidden, inner, 1 / Math.sqrt(inner));
    float[] wLogits = gpu.matrix(random, 512, hidden, 1 / Math.sqrt(hidden));
    CudaWeights.Layer layer =
        new CudaWeights.Layer(gpu.numbers(wQkv), gpu.numbers(wOut), gpu.numbers(wGateUp), gpu.numbers(wDown), 0, 0);
    CudaWeights weights = new CudaWeights(config, 0, List.of(layer, layer), gpu.numbers(wLogits), gpu.rope(config));
    SkinnyProducts products = new SkinnyProducts(gpu.device, gpu.kernels(config), weights);
    long xDevice = gpu.numbers(x);
    double[] factors = Reference.normFactors(x, tokens, hidden, 1e-5);

    int[] positions = random.ints(tokens, 0, 4096).toArray();
    long segment = gpu.poisoned(2L * 4 * kvHeads * tokens * headSize);
    long q = gpu.poisoned(2L * tokens * attention);
    products.qkv(1, xDevice, 0, tokens, q, gpu.ints(Gpu.places(segment, tokens)), gpu.ints(positions));
    double[] qkv = Reference.multiply(x, wQkv, tokens, qkvWidth, hidden);
    Reference.scaleRows(qkv, factors, qkvWidth);
    QkvCheck.check(gpu, config, qkv.clone(), positions, tokens, 1, q, segment);
    float[] all = gpu.readNumbers(q, tokens * attention);

    // Queries of picked rows are bit for bit those of all rows.
    int[] pick = {tokens - 1, 0};
    long picked = gpu.poisoned(2L * PICKED * attention);
    products.qkv(1, xDevice, gpu.ints(pick), PICKED, picked, 0, gpu.ints(positions));
    float[] both = gpu.readNumbers(picked, PICKED * attention);
    assertThat(Arrays.copyOf(both, attention))
        .isEqualTo(Arrays.copyOfRange(all, (tokens - 1) * attention, tokens * attention));
    assertThat(Arrays.copyOfRange(both, attention, 2 * attention)).isEqualTo(Arrays.copyOf(all, attention));

    long activated = gpu.poisoned(2L * tokens * inner);
    products.gateUp(1, xDevice, tokens, activated);
    double[] expected = Reference.multiply(x, wGateUp, tokens, 2 * inner, hidden);
    Reference.scaleRows(expected, factors, 2 * inner);
    float[] inside = gpu.readNumbers(activated, tokens * inner);
    assertThat(Gpu.error(inside, Reference.swiglu(expected, tokens, inner)))
        .as("SwiGLU").isLessThan(gpu.tolerance());

    for (boolean down : new boolean[] {false, true}) {
      float[] before = gpu.random(random, tokens * hidden, 1);
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
      assertThat(Gpu.error(gpu.readNumbers(rounded, sum.length), sum)).as("rounded").isLessThan(gpu.tolerance());
    }

    long logits = gpu.poisoned(4L * tokens * 512);
    products.logits(xDevice, 0, tokens, logits);
    double[] wanted = Reference.multiply(x, wLogits, tokens, 512, hidden);
    Reference.scaleRows(wanted, factors, 512);
    assertThat(Gpu.error(gpu.readFloats(logits, tokens * 512), wanted)).as("logits").isLessThan(1e-4);
  }
}
