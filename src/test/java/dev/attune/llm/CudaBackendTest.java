package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.kv.KvCodec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The GPU backend against the CPU backend on the same small model; skipped, saying so, without a GPU. */
@ParameterizedClass
@EnumSource(Numbers.class)
class CudaBackendTest {

  private static final int LAYERS = GpuModel.LAYERS;

  @RegisterExtension
  static final GpuModel MODEL = new GpuModel(7, "full+fp16", "full+f32");

  private final Numbers numbers;
  private final CudaBackend cuda;
  private final InferenceBackend cpu = MODEL.cpu();

  CudaBackendTest(Numbers numbers) {
    this.numbers = numbers;
    cuda = MODEL.cuda(numbers);
  }

  /** A bound of errors: fp16 rounds eight times finer, but the order of sums stays another. */
  private double bound(double ofBf16) {
    return numbers == Numbers.FP16 ? ofBf16 / 4 : ofBf16;
  }

  private static int[] tokens(int seed, int count) {
    return new Random(seed).ints(count, 3, 250).toArray();
  }

  private static Pass read(int seed, int count, int position, List<KvSegment> context, int layers) {
    return new Pass(tokens(seed, count), position, context, layers, true, Logits.NONE, null);
  }

  private static KvSegment kv(PassResult result) {
    return Objects.requireNonNull(result.kv());
  }

  private static float[] rank(InferenceBackend backend, int documents, int layers, int[] order) {
    return rank(backend, documents, layers, order, document -> document);
  }

  private static float[] rank(
      InferenceBackend backend, int documents, int layers, int[] order, UnaryOperator<KvSegment> kept) {
    KvSegment instruction = kv(backend.run(List.of(read(1, 64, 0, List.of(), layers))).getFirst());
    List<Pass> reading = new ArrayList<>();
    for (int i = 0; i < documents; i++) {
      reading.add(read(100 + i, 1 + (i * 37) % 160, 64, List.of(instruction), layers));
    }
    List<KvSegment> context = new ArrayList<>();
    List<PassResult> read = backend.run(reading);
    for (int i : order) {
      context.add(kept.apply(kv(read.get(i))));
    }
    context.add(instruction);
    Probe probe = new Probe(new int[] {20, 47}, IntStream.range(0, documents).toArray());
    Pass last = new Pass(tokens(2, 48), 600, context, layers, false, Logits.NONE, probe);
    return backend.run(List.of(last)).getFirst().attention();
  }

  private static int[] inOrder(int count) {
    return IntStream.range(0, count).toArray();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 17, 37, 97})
  void scoresAreThoseOfTheCpu(int documents) {
    float[] expected = rank(cpu, documents, 2, inOrder(documents));
    float[] actual = rank(cuda, documents, 2, inOrder(documents));
    double difference = 0;
    double sum = 0;
    for (int i = 0; i < documents; i++) {
      difference += Math.abs(actual[i] - expected[i]);
      sum += actual[i];
    }
    // Random weights spread attention widely: total variation against fp32.
    assertThat(difference).isLessThan(bound(0.05));
    assertThat(sum).isCloseTo(1, within(1e-4));
  }

  /** Every fourth token of documents in int8, as the ranking keeps them when it is set so. */
  @ParameterizedTest
  @ValueSource(ints = {17, 97})
  void scoresOfReducedDocumentsAreThoseOfTheCpu(int documents) {
    for (int every : new int[] {1, 4}) {
      List<float[]> both = new ArrayList<>();
      for (InferenceBackend backend : List.of(cpu, cuda)) {
        both.add(rank(backend, documents, 2, inOrder(documents), document -> {
          KvSegment int8 = backend.recode(document, KvCodec.INT8);
          int[] some = IntStream.range(0, document.tokens()).filter(i -> i % every == 0).toArray();
          return every == 1 ? int8 : backend.select(int8, some);
        }));
      }
      double difference = 0;
      for (int i = 0; i < documents; i++) {
        difference += Math.abs(both.get(0)[i] - both.get(1)[i]);
      }
      assertThat(difference).as("every %d", every).isLessThan(0.05);
    }
  }

  @Test
  void slicesSelectionsAndImagesSayWhatTheyAre() {
    KvSegment whole = kv(cuda.run(List.of(read(3, 37, 5, List.of(), 2))).getFirst());
    KvSegment slice = cuda.slice(whole, 10, 20);
    assertThat(slice.firstPosition()).isEqualTo(15);
    assertThat(slice.tokens()).isEqualTo(10);
    KvSegment joined = cuda.concat(List.of(cuda.slice(whole, 0, 10), slice, cuda.slice(whole, 20, 37)));
    assertThat(cuda.image(joined).asSlice(64).mismatch(cuda.image(whole).asSlice(64))).isEqualTo(-1);
    KvSegment int8 = cuda.recode(whole, KvCodec.INT8);
    assertThat(int8.bytes()).isLessThan(whole.bytes() * 6 / 10);
    assertThat(cuda.recode(int8, KvCodec.INT8)).isSameAs(int8);
    KvSegment few = cuda.select(int8, new int[] {0, 4, 36});
    assertThat(few.reduced()).isTrue();
    assertThat(few.meanSlots()).isEqualTo(3);
    assertThat(few.tokens()).isEqualTo(37);
    KvSegment restored = cuda.restore(cuda.image(few));
    assertThat(cuda.image(restored).mismatch(cuda.image(few))).isEqualTo(-1);
    assertThatThrownBy(() -> cuda.slice(few, 0, 1)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cuda.select(few, new int[] {0})).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cuda.select(whole, new int[] {3, 3})).hasMessageContaining("must ascend");
    // There is one type of 16 bits on a device.
    assertThat(cuda.recode(whole, KvCodec.BF16)).isSameAs(whole);
    assertThat(cuda.recode(whole, KvCodec.FP16)).isSameAs(whole);
    assertThatThrownBy(() -> cuda.recode(whole, KvCodec.F32)).isInstanceOf(UnsupportedOperationException.class);
    // As many slots of each head, though not the same ones.
    KvSegment one = cuda.retain(List.of(whole), (layer, head, available) -> new int[] {head});
    assertThat(one.slots(1, 1)).isEqualTo(1);
  }

  @Test
  void memoryOfSegmentsIsLimited() throws IOException {
    List<CudaException> lost = new ArrayList<>();
    try (CudaBackend small = MODEL.open("full+fp16", numbers, 1 << 20, 0, lost::add)) {
      List<KvSegment> kept = new ArrayList<>();
      // 160 tokens take 200 KB.
      assertThatThrownBy(() -> {
        for (int i = 0; i < 20; i++) {
          kept.add(kv(small.run(List.of(read(i, 160, 0, List.of(), 2))).getFirst()));
        }
      }).isInstanceOf(CudaException.class).hasMessageContaining("limit");
      assertThat(kept).hasSizeBetween(3, 6);
      // What nobody holds any more makes room.
      kept.clear();
      assertThat(small.run(List.of(read(1, 160, 0, List.of(), 2)))).hasSize(1);
      assertThat(lost).isEmpty();
    }
  }

  @Test
  void permutingDocumentsPermutesScoresAndChangesNoBit() {
    float[] scores = rank(cuda, 97, 2, inOrder(97));
    List<Integer> shuffled = new ArrayList<>(IntStream.range(0, 97).boxed().toList());
    Collections.shuffle(shuffled, new Random(5));
    float[] again = rank(cuda, 97, 2, shuffled.stream().mapToInt(i -> i).toArray());
    for (int i = 0; i < 97; i++) {
      assertThat(again[i]).isEqualTo(scores[shuffled.get(i)]);
    }
  }

  @Test
  void aDocumentIsTheSameAloneAndInABatch() {
    List<Pass> passes = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      passes.add(read(i, 3 + 11 * i % 170, 0, List.of(), 2));
    }
    List<PassResult> together = cuda.run(passes);
    for (int i : new int[] {0, 7, 39}) {
      KvSegment alone = kv(cuda.run(List.of(passes.get(i))).getFirst());
      assertThat(cuda.image(alone).mismatch(cuda.image(kv(together.get(i))))).as("pass %d", i).isEqualTo(-1);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 48, 65, 300})
  void logitsAreThoseOfTheCpu(int count) {
    for (int context : new int[] {0, 90}) {
      List<float[][]> both = new ArrayList<>();
      for (InferenceBackend backend : List.of(cpu, cuda)) {
        List<KvSegment> before =
            context == 0
                ? List.of()
                : List.of(kv(backend.run(List.of(read(3, context, 0, List.of(), LAYERS))).getFirst()));
        Pass pass = new Pass(tokens(4, count), context, before, LAYERS, count == 5, Logits.ALL, null);
        both.add(backend.run(List.of(pass)).getFirst().logits());
      }
      for (int i = 0; i < count; i++) {
        float[] expected = both.get(0)[i];
        float[] actual = both.get(1)[i];
        assertThat(actual).hasSameSizeAs(expected);
        double error = 0;
        double norm = 0;
        for (int j = 0; j < expected.length; j++) {
          error += (actual[j] - expected[j]) * (actual[j] - expected[j]);
          norm += expected[j] * expected[j];
        }
        assertThat(Math.sqrt(error / norm)).as("token %d after %d", i, context).isLessThan(bound(0.03));
      }
    }
  }

  @Test
  void lastBlocksTogetherScoreAsAlone() {
    KvSegment instruction = kv(cuda.run(List.of(read(1, 64, 0, List.of(), LAYERS))).getFirst());
    List<Pass> reading = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      reading.add(read(100 + i, 1 + (i * 37) % 160, 64, List.of(instruction), LAYERS));
    }
    List<KvSegment> documents = cuda.run(reading).stream().map(CudaBackendTest::kv).toList();
    Random random = new Random(8);
    List<Pass> passes = new ArrayList<>();
    for (int i = 0; i < 25; i++) {
      List<KvSegment> context = new ArrayList<>(List.of(instruction));
      for (int d : random.ints(1 + random.nextInt(40), 0, 60).distinct().toArray()) {
        context.add(i % 3 == 0 ? cuda.recode(documents.get(d), KvCodec.INT8) : documents.get(d));
      }
      int count = 41 + i % 8;
      // Some want logits, the others masses of one to three rows.
      boolean logits = i % 5 == 0;
      int[] rows = IntStream.range(count - 1 - i % 3, count).toArray();
      passes.add(new Pass(tokens(i, count), 600, context, logits ? LAYERS : 2, false,
          logits ? Logits.LAST : Logits.NONE,
          logits ? null : new Probe(rows, IntStream.range(1, context.size()).toArray())));
    }
    List<PassResult> together = cuda.run(passes);
    for (int i = 0; i < passes.size(); i++) {
      PassResult alone = cuda.run(List.of(passes.get(i))).getFirst();
      assertThat(together.get(i).attention()).as("masses of pass %d", i).isEqualTo(alone.attention());
      assertThat(together.get(i).logits()).as("logits of pass %d", i).isDeepEqualTo(alone.logits());
      assertThat(alone.attention().length + alone.logits().length).isPositive();
    }
  }

  @Test
  void decodingInParallelIsDecodingAlone() {
    KvSegment prompt = kv(cuda.run(List.of(read(9, 100, 0, List.of(), LAYERS))).getFirst());
    List<Pass> steps = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      steps.add(new Pass(new int[] {30 + i}, 100, List.of(prompt), LAYERS, true, Logits.LAST, null));
    }
    List<PassResult> together = cuda.run(steps);
    for (int i = 0; i < steps.size(); i++) {
      assertThat(cuda.run(List.of(steps.get(i))).getFirst().logits()).isDeepEqualTo(together.get(i).logits());
    }
    // Steps one after the other, their segments put together on the way.
    KvSegment next = kv(together.getFirst());
    Pass second = new Pass(new int[] {77}, 101, List.of(prompt, next), LAYERS, false, Logits.LAST, null);
    Pass merged =
        new Pass(new int[] {77}, 101, List.of(cuda.concat(List.of(prompt, next))), LAYERS, false, Logits.LAST, null);
    float[] apart = cuda.run(List.of(second)).getFirst().logits()[0];
    float[] joined = cuda.run(List.of(merged)).getFirst().logits()[0];
    // Keys in another order: the rounding of sums differs; the spread of logits is about 9.
    assertThat(joined).containsExactly(apart, within(0.3f));
  }

  @Test
  void imagesAreRestored() {
    KvSegment segment = kv(cuda.run(List.of(read(3, 37, 5, List.of(), 2))).getFirst());
    KvSegment restored = cuda.restore(cuda.image(segment));
    assertThat(restored.contentId()).isEqualTo(segment.contentId());
    assertThat(restored.layers()).isEqualTo(3);
    assertThat(restored.valueLayers()).isEqualTo(2);
    Probe probe = new Probe(new int[] {0}, new int[] {0, 1});
    KvSegment other = kv(cuda.run(List.of(read(8, 20, 5, List.of(), 2))).getFirst());
    float[] expected = cuda.run(List.of(
        new Pass(tokens(1, 4), 60, List.of(segment, other), 2, false, Logits.NONE, probe))).getFirst().attention();
    float[] actual = cuda.run(List.of(
        new Pass(tokens(1, 4), 60, List.of(restored, other), 2, false, Logits.NONE, probe))).getFirst().attention();
    assertThat(actual).isEqualTo(expected);
    assertThatThrownBy(() -> cuda.restore(cuda.image(segment).asSlice(0, 100)))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> cuda.run(List.of(
        read(1, 3, 60, List.of(kv(cpu.run(List.of(read(3, 37, 5, List.of(), 2))).getFirst())), 2))))
        .hasMessageContaining("not made by a backend of this model");
  }

  @Test
  void imagesOfOtherNumbersAreRefused() {
    KvSegment segment = kv(cuda.run(List.of(read(3, 37, 5, List.of(), 2))).getFirst());
    Numbers others = numbers == Numbers.FP16 ? Numbers.BF16 : Numbers.FP16;
    CudaBackend other = MODEL.cuda(others);
    assertThat(other.numerics()).isEqualTo("cuda-" + others).isNotEqualTo(cuda.numerics());
    assertThat(other.kvPolicy()).isEqualTo("full+" + others);
    assertThatThrownBy(() -> other.restore(cuda.image(segment)))
        .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("other numbers");
  }

  /** Embeddings that only bf16 can be; matrices that fp16 can be, whose products it cannot. */
  @ParameterizedTest
  @CsvSource({
    "token_embd.weight, 1e7", "blk.1.ffn_down.weight, 3e6", "blk.1.ffn_up.weight, 2e4", "blk.1.attn_q.weight, 2e4",
    "blk.1.attn_v.weight, 2e4"
  })
  void whatIsTooLargeForFp16IsTakenInBf16(String name, float factor) throws IOException {
    TinyGguf large = TinyGguf.model(7, LAYERS, 128, 6, 2, 64, 192, true);
    TinyGguf.Tensor tensor = large.tensors.get(name);
    ByteBuffer data = ByteBuffer.allocate(tensor.data().length).order(ByteOrder.LITTLE_ENDIAN);
    for (float weight : large.weights.get(name)) {
      data.putFloat(factor * weight);
    }
    large.tensors.put(name, new TinyGguf.Tensor(tensor.dimensions(), tensor.type(), data.array()));
    Path path = Files.createTempFile("large", ".gguf");
    Files.write(path, large.bytes());
    CudaBackend.Settings settings = new CudaBackend.Settings(ModelLoader.EVERYTHING, numbers, false, 64 << 20, 0, 1);
    try (Checkpoint checkpoint = Checkpoint.open(path);
        CudaBackend backend = CudaBackend.load(checkpoint, settings, failure -> {})) {
      assertThat(backend.numerics()).isEqualTo("cuda-bf16");
      assertThat(backend.kvPolicy()).isEqualTo("full+bf16");
      for (float logit : backend.run(List.of(
          new Pass(tokens(4, 5), 0, List.of(), LAYERS, false, Logits.LAST, null))).getFirst().logits()[0]) {
        assertThat(logit).isFinite();
      }
    } finally {
      Files.delete(path);
    }
  }

  @Test
  void operationsAreCountedAsOnTheCpu() {
    List<InferenceBackend.Work> both = new ArrayList<>();
    for (InferenceBackend backend : List.of(cpu, cuda)) {
      InferenceBackend.Work before = backend.work();
      rank(backend, 5, 2, inOrder(5));
      InferenceBackend.Work after = backend.work();
      both.add(new InferenceBackend.Work(after.projectionFlops() - before.projectionFlops(),
          after.attentionFlops() - before.attentionFlops(), 0, after.tokens() - before.tokens()));
    }
    assertThat(both.get(1)).isEqualTo(both.get(0));
  }
}
