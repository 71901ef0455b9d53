package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Attention and its masses against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums; int8 as the kernels round it. Skipped, saying so, without a
 * GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class AttentionKernelTest {

  private final Gpu gpu;

  AttentionKernelTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  @ParameterizedTest
  @CsvSource({"64,9,3,1,0", "64,9,3,17,1", "64,9,3,37,500", "64,9,3,97,127", "64,9,3,160,64", "64,9,3,48,8192",
    "64,9,3,500,0", "64,6,2,1,600", "64,9,3,1,8192", "64,9,3,4,100", "128,8,2,1,600", "128,8,2,48,3000",
    "128,8,2,160,64", "128,8,2,97,1", "128,8,2,2,0"})
  void attention(int headSize, int heads, int kvHeads, int tokens, int contextTokens) {
    ModelConfig config = TestShapes.llama(128, heads, kvHeads, headSize, 128);
    Kernels kernels = gpu.kernels(config);
    boolean decode = tokens * heads / kvHeads <= 16;
    // Decoding over int8 is RaggedKernelTest's.
    List<Kernels.Attention> kinds = decode ? List.of(kernels.decodeAttention)
        : List.of(kernels.wideAttention, kernels.documentAttention);
    for (Kernels.Attention attention : kinds) {
      for (boolean int8 : decode ? new boolean[] {false} : new boolean[] {false, true}) {
        attention(config, kernels, attention, tokens, contextTokens, int8);
      }
    }
  }

  private void attention(ModelConfig config, Kernels kernels, Kernels.Attention attention, int tokens,
      int contextTokens, boolean int8) {
    boolean decode = attention == kernels.decodeAttention;
    int headSize = config.headSize();
    int heads = config.heads();
    int kvHeads = config.kvHeads();
    Random random = new Random(tokens);
    // Two sequences of different lengths, so that offsets are not zero.
    KnownSegments known = new KnownSegments(gpu, kernels, config, random);
    List<CudaKvSegment> context = new ArrayList<>();
    for (int left = contextTokens; left > 0; ) {
      int n = Math.min(left, 1 + random.nextInt(left > 1000 ? 900 : 200));
      CudaKvSegment whole = known.whole(n);
      // One of three stays as it is, so that tiles have both.
      context.add(int8 && context.size() % 3 != 1 ? known.int8(whole, true) : whole);
      left -= n;
    }
    CudaKvSegment own = known.whole(tokens);
    int fewer = (tokens + 1) / 2;
    CudaKvSegment other = known.whole(fewer);
    BatchPlan.Sequence first = new BatchPlan.Sequence(new int[fewer], 0, context, other, false);
    BatchPlan.Sequence second = new BatchPlan.Sequence(new int[tokens], 0, context, own, false);
    int part = decode ? 64 : 512;
    List<BatchPlan.Sequence> batch = List.of(first, second);
    BatchPlan plan = new BatchPlan(gpu.device, config, kernels, BatchCapacity.of(config, batch, attention, part));
    plan.lay(batch, attention, part);
    plan.upload();
    int rows = plan.rows();
    float[] q = gpu.random(random, rows * heads * headSize, 1.5);
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
          float[][] from = known.numbers(s < context.size() ? s : inFirst ? s + 1 : s);
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
    long queries = gpu.numbers(q);
    // Twice: counters of parts must be as before.
    for (int run = 0; run < 2; run++) {
      long out = gpu.poisoned(2L * rows * heads * headSize);
      AttentionLauncher.Launch launch =
          new AttentionLauncher(gpu.device, config, kernels).new Launch(attention, plan, queries, out);
      launch.run(1, plan.itemCount(), launch.merges());
      assertThat(Gpu.error(gpu.readNumbers(out, expected.length), expected))
          .as("tiles of %d rows, int8 %s, run %d", attention.tileRows(), int8, run)
          .isLessThan(gpu.tolerance());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 17, 37, 97, 127, 160, 500})
  void probes(int documents) {
    probes(TestShapes.llama(128, 9, 3, 64, 128), documents, 2);
    probes(TestShapes.llama(128, 8, 2, 128, 128), documents, documents == 37 ? 5 : 1);
  }

  private void probes(ModelConfig config, int documents, int rows) {
    Random random = new Random(documents);
    Kernels kernels = gpu.kernels(config);
    int d = config.headSize();
    int heads = config.heads();
    int group = heads / config.kvHeads();
    KnownSegments known = new KnownSegments(gpu, kernels, config, random);
    List<CudaKvSegment> segments = new ArrayList<>();
    for (int i = 0; i < documents; i++) {
      CudaKvSegment whole = known.whole(1 + random.nextInt(i == 3 ? 3000 : 60));
      segments.add(i % 4 == 2 ? known.int8(whole) : whole);
    }
    BatchPlan.Sequence last = new BatchPlan.Sequence(new int[rows], 0, segments, segments.getFirst(), false);
    BatchPlan plan = new BatchPlan(gpu.device, config, kernels,
        BatchCapacity.of(config, List.of(last), kernels.wideAttention, 64));
    plan.lay(List.of(last), kernels.wideAttention, 64);
    plan.probe(segments);
    plan.upload();
    float[] q = gpu.random(random, rows * heads * d, 1);
    ProbeLauncher probe = new ProbeLauncher(gpu.device, config, kernels);
    probe.reserve(documents);
    probe.run(plan, 0, 1, rows, gpu.numbers(q));
    double[] expected = new double[documents];
    for (int r = 0; r < rows; r++) {
      for (int h = 0; h < heads; h++) {
        double[] mass = new double[documents];
        double total = 0;
        for (int i = 0; i < documents; i++) {
          float[] keys = known.numbers(i)[h / group];
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
    // The reference has int8 numbers rounded to 16 bits, the kernel has not.
    assertThat(Gpu.error(gpu.readFloats(probe.masses(0), documents), expected)).isLessThan(documents > 2 ? 2e-3 : 1e-4);
  }
}
