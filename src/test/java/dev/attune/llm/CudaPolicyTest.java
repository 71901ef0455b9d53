package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.kv.KvCache;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** KV policies on the GPU against the same on the CPU, with a small model; skipped, saying so, without a GPU. */
class CudaPolicyTest {

  private static final int LAYERS = GpuModel.LAYERS;
  private static final int KV_HEADS = GpuModel.KV_HEADS;

  @RegisterExtension
  static final GpuModel MODEL = new GpuModel(11, "razor(retrieval=0.5,sink=4,window=64)+fp16", "full+fp16");

  private final CudaBackend cuda = MODEL.cuda();
  private final InferenceBackend cpu = MODEL.cpu();

  private static int[] tokens(int seed, int count) {
    return new Random(seed).ints(count, 3, 250).toArray();
  }

  private static KvSegment read(InferenceBackend backend, int seed, int count, int position, KvSegment... context) {
    Pass pass = new Pass(tokens(seed, count), position, List.of(context), LAYERS, true, Logits.NONE, null);
    return Objects.requireNonNull(backend.run(List.of(pass)).getFirst().kv());
  }

  /** Heads keep nothing, all or some; some have a slot for what they drop. */
  private static Retained some(int seed) {
    return new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        Random random = new Random(31 * seed + 7 * layer + kvHead);
        int share = (layer + kvHead + seed) % 4;
        return IntStream.range(0, available).filter(i -> random.nextInt(3) < share).toArray();
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return (layer + seed) % 2 == 0;
      }
    };
  }

  private static double error(float[] actual, float[] expected) {
    double error = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      error += (actual[i] - expected[i]) * (actual[i] - expected[i]);
      norm += expected[i] * expected[i];
    }
    return Math.sqrt(error / norm);
  }

  private static int best(float[] logits) {
    return IntStream.range(0, logits.length).reduce((a, b) -> logits[a] >= logits[b] ? a : b).orElseThrow();
  }

  /** A context of reduced and whole segments; its length is that of its whole parts. */
  private static List<KvSegment> context(InferenceBackend backend, int seed, int length, KvCodec codec) {
    KvSegment first = read(backend, seed, length, 0);
    KvSegment second = read(backend, seed + 1, length + 2, length, first);
    KvSegment third = read(backend, seed + 2, 30, 2 * length + 2, first, second);
    List<KvSegment> coded = List.of(first, second, third).stream().map(s -> backend.recode(s, codec)).toList();
    return List.of(backend.retain(coded.subList(0, 1), some(seed)), backend.retain(coded.subList(1, 2), some(seed + 1)),
        coded.get(2));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 17, 64, 65, 200})
  void passesOverHeadsThatDifferAreThoseOfTheCpu(int count) {
    for (KvCodec codec : new KvCodec[] {KvCodec.FP16, KvCodec.INT8}) {
      for (int length : new int[] {1, 17, 97}) {
        List<List<PassResult>> both = new ArrayList<>();
        for (InferenceBackend backend : List.of(cpu, cuda)) {
          List<Pass> passes = new ArrayList<>();
          for (int i = 0; i < 3; i++) {
            List<KvSegment> context = context(backend, 10 * length + i, length, codec);
            assertThat(context.getFirst().reduced()).isTrue();
            passes.add(new Pass(
                tokens(i, Math.max(1, count - i)), 2 * length + 32, context, LAYERS, true, Logits.ALL, null));
          }
          both.add(backend.run(passes));
          // Each alone gives the same bits.
          assertThat(backend.run(passes.subList(1, 2)).getFirst().logits())
              .isDeepEqualTo(both.getLast().get(1).logits());
        }
        for (int i = 0; i < 3; i++) {
          float[][] expected = both.get(0).get(i).logits();
          float[][] actual = both.get(1).get(i).logits();
          for (int j = 0; j < expected.length; j++) {
            assertThat(error(actual[j], expected[j])).as("%s, %d, pass %d, token %d", codec, length, i, j)
                .isLessThan(codec == KvCodec.INT8 ? 0.04 : 0.03);
          }
        }
      }
    }
  }

  /**
   * Greedy decoding through a cache of the policy; the GPU is given the CPU's tokens, so that a step's error stays its
   * own.
   */
  @ParameterizedTest
  @ValueSource(strings = {"streaming(sink=4,window=64)+fp16", "razor(retrieval=0.5,sink=4,window=64)+fp16",
      "razor(retrieval=0.5,sink=4,window=64,compensation=1)+fp16", "full+int8",
      "razor(retrieval=0.5,sink=4,window=64,compensation=1)+int8"})
  void decodingByAPolicyIsThatOfTheCpu(String policy) throws IOException {
    boolean[][] retrieval = new boolean[LAYERS][KV_HEADS];
    Arrays.stream(retrieval).forEach(layer -> layer[0] = true);
    int certain = 0;
    try (ModelLoader.Loaded reference = MODEL.onCpu(policy);
        CudaBackend device = MODEL.open(policy, 0, 0, failure -> {})) {
      assertThat(device.kvPolicy()).isEqualTo(reference.backend().kvPolicy());
      List<InferenceBackend> backends = List.of(reference.backend(), device);
      List<KvCache> caches = backends.stream().map(backend -> KvCache.of(
          backend, KvPolicy.parse(policy).retention(), retrieval, List.of())).toList();
      int[] next = tokens(5, 300);
      for (int step = 0; step < 150; step++) {
        List<float[]> logits = new ArrayList<>();
        for (int b = 0; b < 2; b++) {
          KvCache cache = caches.get(b);
          PassResult result = backends.get(b).run(List.of(new Pass(
              next, cache.nextPosition(), cache.segments(), LAYERS, true, Logits.LAST, null))).getFirst();
          logits.add(result.logits()[0]);
          cache.append(Objects.requireNonNull(result.kv()));
          if (step == 0) {
            cache.endPrompt();
          }
        }
        assertThat(error(logits.get(1), logits.get(0))).as("step %d", step).isLessThan(0.04);
        int token = best(logits.get(0));
        float[] expected = logits.get(0);
        float second = (float) IntStream.range(0, expected.length).filter(i -> i != token)
            .mapToDouble(i -> expected[i]).max().orElseThrow();
        // Where the first two are further apart than errors reach, the token must be the same.
        if (expected[token] - second > 1) {
          assertThat(best(logits.get(1))).as("token %d", step).isEqualTo(token);
          certain++;
        }
        next = new int[] {token};
      }
      for (int layer = 0; layer < LAYERS; layer++) {
        for (int head = 0; head < KV_HEADS; head++) {
          assertThat(slots(caches.get(1), layer, head)).isEqualTo(slots(caches.get(0), layer, head));
        }
      }
      assertThat((double) caches.get(1).bytes()).isBetween(0.9 * caches.get(0).bytes(), 1.1 * caches.get(0).bytes());
    }
    assertThat(certain).isGreaterThan(20);
  }

  private static int slots(KvCache cache, int layer, int head) {
    return cache.segments().stream().mapToInt(segment -> segment.slots(layer, head)).sum();
  }

  @Test
  void imagesOfReducedSegmentsAreRestored() {
    for (KvCodec codec : new KvCodec[] {KvCodec.FP16, KvCodec.INT8}) {
      KvSegment whole = cuda.recode(read(cuda, 3, 97, 0), codec);
      KvSegment reduced = cuda.retain(List.of(whole), some(2));
      KvSegment restored = cuda.restore(cuda.image(reduced));
      assertThat(restored.contentId()).isEqualTo(reduced.contentId());
      assertThat(restored.bytes()).isEqualTo(reduced.bytes());
      assertThat(restored.meanSlots()).isEqualTo(reduced.meanSlots());
      assertThat(cuda.image(restored).mismatch(cuda.image(reduced))).isEqualTo(-1);
      Pass over = new Pass(new int[] {9}, 97, List.of(reduced), LAYERS, false, Logits.LAST, null);
      Pass again = new Pass(new int[] {9}, 97, List.of(restored), LAYERS, false, Logits.LAST, null);
      assertThat(cuda.run(List.of(again)).getFirst().logits())
          .isDeepEqualTo(cuda.run(List.of(over)).getFirst().logits());
      assertThatThrownBy(() -> cuda.restore(cuda.image(reduced).asSlice(0, 150)))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> cuda.slice(reduced, 0, 1)).isInstanceOf(IllegalArgumentException.class);
      Probe probe = new Probe(new int[] {0}, new int[] {0});
      assertThatThrownBy(() -> cuda.run(List.of(
          new Pass(new int[] {9}, 97, List.of(reduced), 2, false, Logits.NONE, probe))))
          .isInstanceOf(UnsupportedOperationException.class).hasMessageContaining("heads differ");
    }
  }

  /** What is scored is whole, other parts of the context are not. */
  @Test
  void wholeSegmentsAreScoredBesideReducedOnes() {
    List<float[]> both = new ArrayList<>();
    for (InferenceBackend backend : List.of(cpu, cuda)) {
      KvSegment reduced = backend.retain(List.of(read(backend, 3, 97, 0)), some(2));
      List<KvSegment> context = List.of(reduced, read(backend, 4, 20, 97), read(backend, 5, 33, 97));
      Probe probe = new Probe(new int[] {0, 3}, new int[] {1, 2});
      both.add(backend.run(List.of(new Pass(tokens(6, 4), 140, context, 2, false, Logits.NONE, probe)))
          .getFirst().attention());
    }
    for (int i = 0; i < 2; i++) {
      assertThat(both.get(1)[i]).isCloseTo(both.get(0)[i], within(0.02f));
    }
  }

  @Test
  void reducedSegmentsMoveToTheHostAndBack() throws IOException {
    try (CudaBackend small = MODEL.open("full+fp16", 1 << 20, 64 << 20, failure -> {})) {
      List<Pass> passes = new ArrayList<>();
      List<float[][]> before = new ArrayList<>();
      for (int i = 0; i < 12; i++) {
        KvSegment reduced = small.retain(List.of(read(small, i, 160, 0)), some(2));
        passes.add(new Pass(new int[] {9}, 160, List.of(reduced), LAYERS, false, Logits.LAST, null));
        before.add(small.run(List.of(passes.getLast())).getFirst().logits());
      }
      for (int i = 0; i < passes.size(); i++) {
        assertThat(small.run(List.of(passes.get(i))).getFirst().logits()).isDeepEqualTo(before.get(i));
      }
      assertThat(small.memory().moved()).isPositive();
    }
  }

  @Test
  void operationsOverReducedSegmentsAreCountedAsOnTheCpu() {
    List<InferenceBackend.Work> both = new ArrayList<>();
    for (InferenceBackend backend : List.of(cpu, cuda)) {
      List<KvSegment> context = context(backend, 4, 40, KvCodec.FP16);
      InferenceBackend.Work before = backend.work();
      backend.run(List.of(new Pass(tokens(1, 3), 112, context, LAYERS, true, Logits.LAST, null)));
      InferenceBackend.Work after = backend.work();
      both.add(new InferenceBackend.Work(after.projectionFlops() - before.projectionFlops(),
          after.attentionFlops() - before.attentionFlops(), 0, after.tokens() - before.tokens()));
    }
    assertThat(both.get(1)).isEqualTo(both.get(0));
  }
}
