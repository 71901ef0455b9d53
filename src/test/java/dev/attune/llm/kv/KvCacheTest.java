package dev.attune.llm.kv;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.KvSegment;
import dev.attune.llm.TinyModel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class KvCacheTest {

  private final TinyModel tiny = TinyModel.shared();
  private final InferenceBackend backend = tiny.backend();
  private final int layers = tiny.config().layers();
  private final int heads = tiny.config().kvHeads();

  private boolean[][] everySecondHead() {
    boolean[][] chosen = new boolean[layers][heads];
    Arrays.stream(chosen).forEach(layer -> layer[0] = true);
    return chosen;
  }

  private KvCache cache(Retention retention, KvSegment... prefix) {
    return KvCache.of(backend, retention, everySecondHead(), List.of(prefix));
  }

  private PassResult run(KvCache cache, int... tokens) {
    return backend.run(List.of(
        new Pass(tokens, cache.nextPosition(), cache.segments(), layers, true, Logits.LAST, null))).getFirst();
  }

  private KvSegment read(KvCache cache, int count) {
    return Objects.requireNonNull(run(cache, new Random(count).ints(count, 3, 250).toArray()).kv());
  }

  /** Decoding through the cache gives the bits of passes over plain segments, put together at the same places. */
  @Property(tries = 10)
  void fullRetentionChangesNoBit(@ForAll @IntRange(min = 2, max = 90) int prompt, @ForAll boolean razorOfAll) {
    KvCache cache = cache(razorOfAll ? new Retention.Razor(1, 4, 8, true) : new Retention.Full());
    List<KvSegment> plain = new ArrayList<>();
    plain.add(read(cache, prompt));
    cache.append(plain.getFirst());
    cache.endPrompt();
    for (int i = 0; i < 40; i++) {
      PassResult expected = backend.run(List.of(
          new Pass(new int[] {i}, prompt + i, plain, layers, true, Logits.LAST, null))).getFirst();
      PassResult actual = run(cache, i);
      assertThat(actual.logits()).isDeepEqualTo(expected.logits());
      cache.append(Objects.requireNonNull(actual.kv()));
      plain.add(Objects.requireNonNull(expected.kv()));
      if (i % 16 == 15) {
        List<KvSegment> tail = plain.subList(plain.size() - 16, plain.size());
        KvSegment merged = backend.concat(tail);
        tail.clear();
        plain.add(merged);
      }
    }
    assertThat(cache.bytes()).isEqualTo(plain.stream().mapToLong(KvSegment::bytes).sum());
  }

  @Test
  void razorKeepsRetrievalHeadsWholeAndSlidesOverTheOthers() {
    KvCache cache = cache(new Retention.Razor(0.5, 4, 100, true));
    cache.append(read(cache, 300));
    assertThat(cache.segments()).hasSize(1);
    cache.endPrompt();
    for (int i = 0; i < 200; i++) {
      cache.append(Objects.requireNonNull(run(cache, i).kv()));
      assertThat(cache.nextPosition()).isEqualTo(301 + i);
      assertThat(slots(cache, 1, 0)).isEqualTo(301 + i);
      // Sinks, window and its step, and a token for each time that it slid.
      assertThat(slots(cache, 1, 1)).isBetween(100 + 4 + 1, 100 + 4 + 64 + 4);
    }
    assertThat(cache.bytes()).isEqualTo(
        cache.segments().stream().mapToLong(segment -> backend.image(segment).byteSize()).sum());
  }

  @Test
  void withoutCompensationOtherHeadsKeepSinksAndWindow() {
    KvCache cache = cache(new Retention.Razor(0.5, 4, 100, false));
    cache.append(read(cache, 300));
    cache.endPrompt();
    assertThat(slots(cache, 1, 0)).isEqualTo(300);
    assertThat(slots(cache, 1, 1)).isEqualTo(104);
  }

  @Test
  void streamingForgets() {
    KvCache cache = cache(new Retention.Streaming(3, 50));
    for (int i = 0; i < 5; i++) {
      cache.append(read(cache, 60));
    }
    cache.endPrompt();
    assertThat(slots(cache, 0, 0)).isEqualTo(53);
    for (int i = 0; i < 100; i++) {
      cache.append(Objects.requireNonNull(run(cache, i).kv()));
    }
    assertThat(slots(cache, 2, 1)).isBetween(53, 53 + 64);
    assertThat(cache.nextPosition()).isEqualTo(400);
  }

  private static int slots(KvCache cache, int layer, int head) {
    return cache.segments().stream().mapToInt(segment -> segment.slots(layer, head)).sum();
  }

  @Test
  void forksAndPrefixesShareWhatTheyDoNotChange() {
    KvCache first = cache(new Retention.Razor(0.5, 4, 100, true));
    first.append(read(first, 400));
    first.endPrompt();
    List<KvCache> forks = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      KvCache fork = cache(new Retention.Razor(0.5, 4, 100, true), first.segments().toArray(KvSegment[]::new));
      fork.append(read(fork, 2));
      forks.add(fork);
    }
    long own = forks.getFirst().segments().getLast().bytes();
    assertThat(KvCache.bytes(forks)).isEqualTo(first.bytes() + 100 * own);
    List<KvSegment> before = first.segments();
    KvCache grown = first.fork();
    for (int i = 0; i < 150; i++) {
      grown.append(Objects.requireNonNull(run(grown, i).kv()));
    }
    assertThat(first.segments()).isEqualTo(before);
    assertThat(grown.segments().getFirst()).isSameAs(before.getFirst());
  }
}
