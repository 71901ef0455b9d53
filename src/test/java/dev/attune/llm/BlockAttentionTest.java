package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.InferenceBackend.Work;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Passes over segments equal a transformer with a dense mask, and do so with the same bits in every arrangement. */
class BlockAttentionTest {

  private static final int LAST_POSITION = 500;

  /** A list of blocks on a small random model: an instruction, documents that see it, a last block that sees all. */
  private static final class Scene {
    final TinyModel tiny;
    final int[] instruction;
    final List<int[]> documents = new ArrayList<>();
    final int[] last;
    final int probeLayer;

    Scene(TinyModel tiny, long seed, int documents, int longest) {
      this.tiny = tiny;
      Random random = new Random(seed);
      instruction = tokens(random, 1 + random.nextInt(longest));
      for (int i = 0; i < documents; i++) {
        this.documents.add(tokens(random, 1 + random.nextInt(longest)));
      }
      last = tokens(random, 2 + random.nextInt(longest));
      probeLayer = tiny.config().layers() - 1;
    }

    private int[] tokens(Random random, int count) {
      return random.ints(count, 0, tiny.config().vocabulary()).toArray();
    }

    List<DenseOracle.Block> blocks() {
      List<DenseOracle.Block> blocks = new ArrayList<>();
      blocks.add(new DenseOracle.Block(instruction, 0, List.of()));
      for (int[] document : documents) {
        blocks.add(new DenseOracle.Block(document, instruction.length, List.of(0)));
      }
      blocks.add(new DenseOracle.Block(
          last, LAST_POSITION, IntStream.rangeClosed(0, documents.size()).boxed().toList()));
      return blocks;
    }

    KvSegment readInstruction(int layers) {
      return kv(new Pass(instruction, 0, List.of(), layers, true, Logits.NONE, null));
    }

    Pass documentPass(int i, KvSegment instruction, int layers) {
      return new Pass(documents.get(i), this.instruction.length, List.of(instruction), layers, true, Logits.NONE, null);
    }

    KvSegment kv(Pass pass) {
      return Objects.requireNonNull(tiny.backend().run(List.of(pass)).getFirst().kv());
    }

    /** All segments: the instruction, then the documents. */
    List<KvSegment> read(int layers) {
      List<KvSegment> segments = new ArrayList<>();
      segments.add(readInstruction(layers));
      List<Pass> passes =
          IntStream.range(0, documents.size()).mapToObj(i -> documentPass(i, segments.getFirst(), layers)).toList();
      tiny.backend().run(passes).forEach(result -> segments.add(Objects.requireNonNull(result.kv())));
      return segments;
    }

    Pass probe(List<KvSegment> context, int[] rows, int[] scored) {
      return probe(context, rows, scored, false);
    }

    Pass probe(List<KvSegment> context, int[] rows, int[] scored, boolean bySlot) {
      return new Pass(last, LAST_POSITION, context, probeLayer, false, Logits.NONE, new Probe(rows, scored, bySlot));
    }

    Pass logits(List<KvSegment> context) {
      return new Pass(last, LAST_POSITION, context, tiny.config().layers(), false, Logits.ALL, null);
    }
  }

  private static int[] range(int from, int to) {
    return IntStream.range(from, to).toArray();
  }

  /** Head groups, head sizes and widths that do not fit vectors, blocks or panels. */
  @ParameterizedTest(name = "hidden {0}, {1}/{2} heads of {3}, feed-forward {4}, tied {5}")
  @CsvSource({
    "40, 6, 2, 8, 56, true",
    "33, 3, 3, 24, 17, false",
    "64, 9, 3, 64, 97, true",
    "48, 4, 1, 40, 127, false",
    "72, 35, 1, 16, 37, true",
  })
  void equalsADenseMask(int hidden, int heads, int kvHeads, int headSize, int feedForward, boolean tied) {
    try (TinyModel tiny = TinyModel.of(11, 3, hidden, heads, kvHeads, headSize, feedForward, tied, "full+f32", 2)) {
      Scene scene = new Scene(tiny, 5, 4, 70);
      DenseOracle oracle = new DenseOracle(tiny.file(), tiny.config(), scene.blocks());

      List<KvSegment> all = scene.read(tiny.config().layers());
      float[][] logits = tiny.backend().run(List.of(scene.logits(all))).getFirst().logits();
      double[][] expected = oracle.logits();
      double scale = Arrays.stream(expected).flatMapToDouble(Arrays::stream).map(Math::abs).max().orElseThrow();
      for (int i = 0; i < expected.length; i++) {
        for (int j = 0; j < expected[i].length; j++) {
          assertThat((double) logits[i][j]).as("logit %d of token %d", j, i).isCloseTo(expected[i][j],
              within(1e-4 * scale));
        }
      }

      int[] rows = {0, scene.last.length - 1};
      List<KvSegment> below = scene.read(scene.probeLayer);
      float[] masses = tiny.backend().run(List.of(scene.probe(below, rows, range(1, 5)))).getFirst().attention();
      double[] expectedMasses = oracle.masses(scene.probeLayer, rows, List.of(1, 2, 3, 4));
      for (int i = 0; i < masses.length; i++) {
        assertThat((double) masses[i]).as("mass of document %d", i).isCloseTo(expectedMasses[i],
            within(1e-4 * expectedMasses[i]));
      }
      Pass bySlot = scene.probe(below, rows, range(1, 5), true);
      float[] ofSlots = tiny.backend().run(List.of(bySlot)).getFirst().attention();
      double[][] expectedSlots = oracle.massesBySlot(scene.probeLayer, rows, List.of(1, 2, 3, 4));
      int slots = expectedSlots[0].length;
      assertThat(ofSlots).hasSize(heads * slots);
      for (int i = 0; i < ofSlots.length; i++) {
        assertThat((double) ofSlots[i]).as("head %d, token %d", i / slots, i % slots)
            .isCloseTo(expectedSlots[i / slots][i % slots], within(1e-4 * expectedSlots[i / slots][i % slots]));
      }
    }
  }

  /** The masses of each scored segment's slots, head by head. */
  private static List<List<Float>> bySegment(TinyModel tiny, Pass pass, int heads) {
    float[] masses = tiny.backend().run(List.of(pass)).getFirst().attention();
    int slots = masses.length / heads;
    List<List<Float>> segments = new ArrayList<>();
    int first = 0;
    for (int scored : Objects.requireNonNull(pass.probe()).scored()) {
      List<Float> ofSegment = new ArrayList<>();
      int count = pass.context().get(scored).slots(pass.layers(), 0);
      for (int head = 0; head < heads; head++) {
        for (int slot = 0; slot < count; slot++) {
          ofSegment.add(masses[head * slots + first + slot]);
        }
      }
      segments.add(ofSegment);
      first += count;
    }
    return segments;
  }

  @Property(tries = 30)
  void permutingTheContextPermutesMassesAndNothingElse(
      @ForAll long seed, @ForAll @IntRange(min = 1, max = 12) int documents) {
    TinyModel tiny = TinyModel.shared();
    Scene scene = new Scene(tiny, seed, documents, 50);
    List<KvSegment> segments = scene.read(scene.probeLayer);
    int[] rows = {scene.last.length - 1, 0};
    float[] masses =
        tiny.backend().run(List.of(scene.probe(segments, rows, range(1, documents + 1)))).getFirst().attention();

    List<Integer> order = new ArrayList<>(IntStream.rangeClosed(0, documents).boxed().toList());
    Collections.shuffle(order, new Random(seed));
    List<KvSegment> permuted = order.stream().map(segments::get).toList();
    int[] scored = IntStream.rangeClosed(0, documents).filter(i -> order.get(i) != 0).toArray();
    float[] permutedMasses = tiny.backend().run(List.of(scene.probe(permuted, rows, scored))).getFirst().attention();
    for (int i = 0; i < scored.length; i++) {
      assertThat(permutedMasses[i]).isEqualTo(masses[order.get(scored[i]) - 1]);
    }
    int heads = tiny.config().heads();
    assertThat(bySegment(tiny, scene.probe(permuted, rows, scored, true), heads))
        .containsExactlyInAnyOrderElementsOf(
            bySegment(tiny, scene.probe(segments, rows, range(1, documents + 1), true), heads));

    List<KvSegment> full = scene.read(tiny.config().layers());
    assertThat(tiny.backend().run(List.of(scene.logits(order.stream().map(full::get).toList()))).getFirst().logits())
        .isDeepEqualTo(tiny.backend().run(List.of(scene.logits(full))).getFirst().logits());
  }

  /** Also when documents are read again in another order: the order of sums follows content, not creation. */
  @Property(tries = 10)
  void readingDocumentsInAnotherOrderChangesNoBit(@ForAll long seed) {
    TinyModel tiny = TinyModel.shared();
    Scene scene = new Scene(tiny, seed, 7, 40);
    List<KvSegment> once = scene.read(scene.probeLayer);
    KvSegment instruction = scene.readInstruction(scene.probeLayer);
    List<KvSegment> again = new ArrayList<>();
    for (int i = 6; i >= 0; i--) {
      again.add(scene.kv(scene.documentPass(i, instruction, scene.probeLayer)));
    }
    again.add(instruction);
    int[] rows = {1};
    float[] masses = tiny.backend().run(List.of(scene.probe(once, rows, range(1, 8)))).getFirst().attention();
    float[] reversed = tiny.backend().run(List.of(scene.probe(again, rows, range(0, 7)))).getFirst().attention();
    for (int i = 0; i < 7; i++) {
      assertThat(reversed[6 - i]).isEqualTo(masses[i]);
    }
  }

  @Property(tries = 30)
  void aPassGivesTheSameBitsAloneAndInABatch(@ForAll long seed, @ForAll @IntRange(min = 2, max = 9) int documents) {
    TinyModel tiny = TinyModel.shared();
    Scene scene = new Scene(tiny, seed, documents, 60);
    List<KvSegment> context = scene.read(tiny.config().layers());
    Random random = new Random(seed);
    List<Pass> passes = new ArrayList<>();
    passes.add(scene.logits(context));
    for (int i = 0; i < documents; i++) {
      passes.add(scene.documentPass(i, context.getFirst(), random.nextInt(tiny.config().layers() + 1)));
    }
    passes.add(scene.probe(context, new int[] {0, 1}, range(1, 3)));
    Collections.shuffle(passes, random);
    List<PassResult> together = tiny.backend().run(passes);
    for (int i = 0; i < passes.size(); i++) {
      PassResult alone = tiny.backend().run(List.of(passes.get(i))).getFirst();
      assertThat(together.get(i).logits()).isDeepEqualTo(alone.logits());
      assertThat(together.get(i).attention()).isEqualTo(alone.attention());
      if (alone.kv() != null) {
        assertThat(tiny.backend().image(together.get(i).kv()).mismatch(tiny.backend().image(alone.kv()))).isEqualTo(-1);
      }
    }
  }

  @Test
  void theNumberOfThreadsChangesNoBit() {
    float[][] expected = null;
    for (int threads = 1; threads <= 4; threads++) {
      try (TinyModel tiny = TinyModel.of(3, 2, 40, 6, 2, 16, 56, true, "full+fp16", threads)) {
        Scene scene = new Scene(tiny, 1, 5, 90);
        float[][] logits =
            tiny.backend().run(List.of(scene.logits(scene.read(tiny.config().layers())))).getFirst().logits();
        if (expected != null) {
          assertThat(logits).isDeepEqualTo(expected);
        }
        expected = logits;
      }
    }
  }

  @Property(tries = 20)
  void readingInPiecesEqualsReadingAtOnce(@ForAll long seed, @ForAll @IntRange(min = 2, max = 150) int length) {
    TinyModel tiny = TinyModel.shared();
    int layers = tiny.config().layers();
    Random random = new Random(seed);
    int[] tokens = random.ints(length, 0, tiny.config().vocabulary()).toArray();
    float[][] whole =
        tiny.backend()
            .run(List.of(new Pass(tokens, 7, List.of(), layers, false, Logits.ALL, null)))
            .getFirst()
            .logits();
    List<KvSegment> context = new ArrayList<>();
    for (int from = 0; from < length; ) {
      int to = random.nextInt(4) == 0 ? from + 1 : from + 1 + random.nextInt(length - from);
      Pass pass = new Pass(Arrays.copyOfRange(tokens, from, to), 7 + from, context, layers, true, Logits.ALL, null);
      PassResult result = tiny.backend().run(List.of(pass)).getFirst();
      for (int i = from; i < to; i++) {
        assertThat(result.logits()[i - from]).as("token %d of %d", i, length).containsExactly(whole[i], within(2e-4f));
      }
      context.add(Objects.requireNonNull(result.kv()));
      if (random.nextBoolean()) {
        KvSegment merged = tiny.backend().concat(context);
        context.clear();
        context.add(merged);
      }
      from = to;
    }
  }

  @Test
  void attentionWorkGrowsLinearlyWithDocuments() {
    TinyModel tiny = TinyModel.shared();
    long[] flops = new long[4];
    long[] bytes = new long[4];
    for (int n = 1; n <= 3; n++) {
      Random random = new Random(1);
      int[] document = random.ints(30, 0, tiny.config().vocabulary()).toArray();
      int[] last = random.ints(10, 0, tiny.config().vocabulary()).toArray();
      Work before = tiny.backend().work();
      List<KvSegment> segments = tiny.backend()
          .run(Collections.nCopies(8 * n, new Pass(document, 0, List.of(), 1, true, Logits.NONE, null)))
          .stream().map(PassResult::kv).map(Objects::requireNonNull).toList();
      tiny.backend().run(List.of(
          new Pass(last, 100, segments, 1, false, Logits.NONE, new Probe(new int[] {9}, range(0, 8 * n)))));
      flops[n] = tiny.backend().work().attentionFlops() - before.attentionFlops();
      bytes[n] = tiny.backend().work().cacheBytes() - before.cacheBytes();
      assertThat(tiny.backend().work().tokens() - before.tokens()).isEqualTo(30 * 8L * n + 10);
    }
    assertThat(flops[3] - flops[2]).isEqualTo(flops[2] - flops[1]);
    int width = tiny.config().heads() * tiny.config().headSize();
    // Per list of eight: documents see themselves, the last block's ten rows and then one probed row see them.
    // Keys and values of one layer in f32, then the keys of the probed layer.
    assertThat(bytes[1]).isEqualTo(8L * 30 * 3 * tiny.config().kvHeads() * tiny.config().headSize() * 4);
    assertThat(bytes[3]).isEqualTo(3 * bytes[1]);
    assertThat(flops[2] - flops[1]).isEqualTo(8L * width * (4 * 30 * 31 / 2 + 4 * 10 * 30 + 2 * 30));
  }
}
