package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.SkinnyEngine.Tiles;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/** Decoding with weights in FP8, which {@link ProductChain} multiplies with; skipped, saying so, without a GPU. */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class Fp8DecodingTest {

  /** Attention itself puts the parts of the first three together, a kernel of its own those of the others. */
  private static final int[] CONTEXTS = {70, 700, 1000, 1500, 4000};
  /** What two layers in FP8 may change of the logits, random ones; without a token's numbers they are others. */
  private static final double TOLERANCE = 0.15;

  private final Gpu gpu;
  private final ModelConfig config = TestShapes.llama(2304, 20, 2, 128, 704);
  private final Kernels kernels;
  private final CudaWeights weights;

  Fp8DecodingTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
    kernels = this.gpu.kernels(config);
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int qkv = attention + 2 * config.kvHeads() * config.headSize();
    List<CudaWeights.Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      layers.add(new CudaWeights.Layer(random((long) qkv * hidden, 1 / Math.sqrt(hidden), 10 * i),
          random((long) hidden * attention, 1 / Math.sqrt(attention), 10 * i + 1),
          random(2L * config.feedForward() * hidden, 1 / Math.sqrt(hidden), 10 * i + 2),
          random((long) hidden * config.feedForward(), 1 / Math.sqrt(config.feedForward()), 10 * i + 3), 0, 0));
    }
    long vocabulary = config.vocabulary();
    weights = new CudaWeights(config, random(vocabulary * hidden, 1, 100), layers,
        random(vocabulary * hidden, 1 / Math.sqrt(hidden), 101), this.gpu.rope(config));
  }

  private long random(long count, double deviation, int seed) {
    return GpuBenchmark.random(gpu.device, kernels, count, 0, (float) deviation, seed);
  }

  private BatchPlan.Sequence decoding(int context, int token) {
    CudaKvSegment.Shape before = CudaKvSegment.Shape.whole(kernels.numbers.codec,
        config.kvHeads(), config.headSize(), context, config.layers(), config.layers(), 0);
    CudaKvSegment.Shape own = CudaKvSegment.Shape.whole(kernels.numbers.codec,
        config.kvHeads(), config.headSize(), 1, config.layers(), config.layers(), context);
    return new BatchPlan.Sequence(new int[] {token}, context,
        List.of(new CudaKvSegment(before, random(before.bytes() / 2, 1, context), 1)),
        new CudaKvSegment(own, gpu.poisoned(own.bytes()), 2), false);
  }

  private SkinnyEngine engine(boolean fp8) {
    return new SkinnyEngine(gpu.device, kernels, weights, fp8 ? Fp8Weights.of(gpu.device, kernels, weights) : null,
        new SkinnyProducts(gpu.device, kernels, weights), new ProbeLauncher(gpu.device, config, kernels));
  }

  /** Logits of each sequence. */
  private float[][] logits(SkinnyEngine engine, List<BatchPlan.Sequence> batch) {
    int count = batch.size();
    BatchPlan plan = engine.prepare(batch, 0);
    int[] rows = new int[count];
    Arrays.setAll(rows, i -> i);
    plan.pick(0, rows);
    plan.upload();
    int width = weights.paddedVocabulary();
    float[] all = gpu.readFloats(engine.run(plan, config.layers(), Tiles.DECODING, List.of(), count), count * width);
    float[][] each = new float[count][];
    Arrays.setAll(each, i -> Arrays.copyOfRange(all, i * width, (i + 1) * width));
    return each;
  }

  @Test
  void aBatchOfShortAndLongContextsIsEachAlone() {
    Random random = new Random(3);
    List<BatchPlan.Sequence> batch = new ArrayList<>();
    for (int context : CONTEXTS) {
      batch.add(decoding(context, random.nextInt(config.vocabulary())));
    }
    SkinnyEngine fp8 = engine(true);
    float[][] together = logits(fp8, batch);
    float[][] reversed = logits(fp8, batch.reversed());
    float[][] in16Bits = logits(engine(false), batch);
    for (int i = 0; i < CONTEXTS.length; i++) {
      String what = "context of %d".formatted(CONTEXTS[i]);
      assertThat(Gpu.error(together[i], Reference.toDouble(in16Bits[i]))).as(what).isLessThan(TOLERANCE);
      assertThat(logits(fp8, List.of(batch.get(i)))[0]).as(what).isEqualTo(together[i]);
      assertThat(reversed[CONTEXTS.length - 1 - i]).as(what + " in another order").isEqualTo(together[i]);
    }
  }
}
