package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Products of few tokens against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class FewTokensProductTest {

  private final Gpu gpu;

  FewTokensProductTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  @ParameterizedTest
  @CsvSource({"1,576,9,3,64,1536", "7,576,9,3,64,1536", "13,128,6,2,64,192", "48,576,9,3,64,1536", "30,576,9,3,64,1536",
    "64,576,9,3,64,1536", "48,4096,8,2,128,4160", "1,4096,8,2,128,4160", "17,2112,6,2,64,2240"})
  void productsOfFewTokens(int tokens, int hidden, int heads, int kvHeads, int headSize, int inner) {
    Random random = new Random(tokens);
    ModelConfig config = TestShapes.llama(hidden, heads, kvHeads, headSize, inner);
    int attention = heads * headSize;
    int qkvWidth = (heads + 2 * kvHeads) * headSize;
    float[] x = gpu.random(random, tokens * hidden, 1);
    float[] wQkv = gpu.random(random, qkvWidth * hidden, 1 / Math.sqrt(hidden));
    float[] wOut = gpu.random(random, hidden * attention, 1 / Math.sqrt(attention));
    float[] wGateUp = gpu.random(random, 2 * inner * hidden, 1 / Math.sqrt(hidden));
    float[] wDown = gpu.random(random, hidden * inner, 1 / Math.sqrt(inner));
    float[] wLogits = gpu.random(random, 512 * hidden, 1 / Math.sqrt(hidden));
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
    long picked = gpu.poisoned(2L * 2 * attention);
    products.qkv(1, xDevice, gpu.ints(pick), 2, picked, 0, gpu.ints(positions));
    float[] both = gpu.readNumbers(picked, 2 * attention);
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
