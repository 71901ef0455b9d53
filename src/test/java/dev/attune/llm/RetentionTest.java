package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.kv.KvCodec;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

/** Attention over heads of different length, with tokens that stand for others, equals a dense oracle. */
class RetentionTest {

  private final TinyModel tiny = TinyModel.shared();
  private final InferenceBackend backend = tiny.backend();
  private final int layers = tiny.config().layers();
  private final int heads = tiny.config().kvHeads();

  private KvSegment read(int[] tokens) {
    Pass pass = new Pass(tokens, 0, List.of(), layers, true, Logits.NONE, null);
    return Objects.requireNonNull(backend.run(List.of(pass)).getFirst().kv());
  }

  private float[][] logits(int[] tokens, int position, KvSegment... context) {
    Pass pass = new Pass(tokens, position, List.of(context), layers, false, Logits.ALL, null);
    return backend.run(List.of(pass)).getFirst().logits();
  }

  private int[] tokens(Random random, int count) {
    return random.ints(count, 0, tiny.config().vocabulary()).toArray();
  }

  @Property(tries = 25)
  void raggedHeadsEqualADenseOracle(
      @ForAll long seed, @ForAll @IntRange(min = 1, max = 80) int length,
      @ForAll @IntRange(min = 1, max = 20) int rows) {
    Random random = new Random(seed);
    int[] first = tokens(random, length);
    int[] last = tokens(random, rows);
    boolean[][][] kept = new boolean[layers][heads][length];
    boolean[][] compensated = new boolean[layers][heads];
    for (int layer = 0; layer < layers; layer++) {
      for (int head = 0; head < heads; head++) {
        int share = random.nextInt(5);
        compensated[layer][head] = random.nextBoolean();
        for (int token = 0; token < length; token++) {
          kept[layer][head][token] = random.nextInt(4) < share;
        }
      }
    }
    KvSegment reduced = backend.retain(List.of(read(first)), retained(kept, compensated));
    float[][] actual = logits(last, length, reduced);
    double[][] expected = new DenseOracle(tiny.file(), tiny.config(),
        List.of(new DenseOracle.Block(first, 0, List.of()), new DenseOracle.Block(last, length, List.of(0))),
        new DenseOracle.Reduction() {
          @Override
          public boolean keeps(int layer, int kvHead, int token) {
            return kept[layer][kvHead][token];
          }

          @Override
          public boolean compensated(int layer, int kvHead) {
            return compensated[layer][kvHead];
          }
        }).logits();
    double scale = Arrays.stream(expected).flatMapToDouble(Arrays::stream).map(Math::abs).max().orElseThrow();
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < expected[i].length; j++) {
        assertThat((double) actual[i][j]).isCloseTo(expected[i][j], within(1e-4 * scale));
      }
    }
  }

  private static Retained retained(boolean[][][] kept, boolean[][] compensated) {
    return new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        boolean[] head = kept[layer][kvHead];
        return IntStream.range(0, available).filter(i -> head[i]).toArray();
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return compensated[layer][kvHead];
      }
    };
  }

  /** A slot that stands for several weighs as many when it is dropped in its turn. */
  @Test
  void compensationOfCompensationIsThatOfAll() {
    int[] first = tokens(new Random(1), 40);
    boolean[][] compensated = new boolean[layers][heads];
    Arrays.stream(compensated).forEach(layer -> Arrays.fill(layer, true));
    boolean[][][] half = new boolean[layers][heads][41];
    for (boolean[][] layer : half) {
      for (boolean[] head : layer) {
        Arrays.fill(head, 20, 40, true);
      }
    }
    boolean[][][] none = new boolean[layers][heads][41];
    KvSegment whole = read(first);
    KvSegment once = backend.retain(List.of(whole), retained(none, compensated));
    KvSegment twice = backend.retain(
        List.of(backend.retain(List.of(whole), retained(half, compensated))), retained(none, compensated));
    float[] expected = logits(new int[] {5}, 40, once)[0];
    assertThat(logits(new int[] {5}, 40, twice)[0]).containsExactly(expected, within(1e-4f));
  }

  @Property(tries = 20)
  void choosingAllTokensChangesNoBit(@ForAll long seed, @ForAll @IntRange(min = 1, max = 60) int length) {
    Random random = new Random(seed);
    KvSegment whole = read(tokens(random, length));
    KvSegment all = backend.select(whole, IntStream.range(0, length).toArray());
    assertThat(all.bytes()).isEqualTo(whole.bytes());
    int[] last = tokens(random, 3);
    assertThat(logits(last, length, all)).isDeepEqualTo(logits(last, length, whole));
  }

  @Test
  void oneTokenInTenTakesATenthOfTheBytes() {
    KvSegment whole = read(tokens(new Random(2), 160));
    KvSegment tenth = backend.select(whole, IntStream.range(0, 16).map(i -> 10 * i).toArray());
    assertThat(tenth.tokens()).isEqualTo(160);
    assertThat(tenth.meanSlots()).isEqualTo(16);
    assertThat(tenth.reduced()).isTrue();
    assertThat((tenth.bytes() - 64) * 10).isEqualTo(whole.bytes() - 64);
    KvSegment small = backend.select(backend.recode(whole, KvCodec.INT8), new int[] {3});
    int numbers = layers * heads * tiny.config().headSize();
    assertThat(small.bytes()).isEqualTo(64 + 2L * numbers + 4L * numbers + 4L * layers * heads);
  }
}
