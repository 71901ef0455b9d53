package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.CudaException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Documents that do not fit on the GPU together, and calls side by side: every result has the bits that it has alone
 * with room for everything. Skipped, saying so, without a GPU.
 */
@Timeout(120)
class CudaResidencyTest {

  private static final int LAYERS = GpuModel.LAYERS;
  private static final int DOCUMENTS = 60;
  /** A document of 160 tokens takes 200 KB; a list of ten fits a few times. */
  private static final long SMALL = 6 << 20;

  @RegisterExtension
  static final GpuModel MODEL = new GpuModel(7, "full+fp16", "full+fp16");

  private static CudaBackend roomy;
  private static List<MemorySegment> images;
  private static MemorySegment instruction;

  @BeforeAll
  static void read() {
    roomy = MODEL.cuda();
    KvSegment first = kv(roomy.run(List.of(read(1, 64, 0, List.of()))).getFirst());
    instruction = stored(roomy.image(first));
    images = new ArrayList<>();
    for (PassResult result : roomy.run(IntStream.range(0, DOCUMENTS)
        .mapToObj(i -> read(100 + i, 20 + (i * 37) % 140, 64, List.of(first))).toList())) {
      images.add(stored(roomy.image(kv(result))));
    }
  }

  private static CudaBackend open(long device, long host) throws IOException {
    return MODEL.open("full+fp16", device, host, failure -> {});
  }

  /** As a mapped file is: outside of the heap. */
  private static MemorySegment stored(MemorySegment image) {
    return Arena.ofAuto().allocate(image.byteSize(), 64).copyFrom(image);
  }

  private static Pass read(int seed, int count, int position, List<KvSegment> context) {
    return new Pass(new Random(seed).ints(count, 3, 250).toArray(), position, context, 2, true, Logits.NONE, null);
  }

  private static KvSegment kv(PassResult result) {
    return Objects.requireNonNull(result.kv());
  }

  private static float[] score(InferenceBackend backend, KvSegment first, List<KvSegment> documents) {
    List<KvSegment> context = new ArrayList<>(documents);
    context.add(first);
    Probe probe = new Probe(new int[] {20, 47}, IntStream.range(0, documents.size()).toArray());
    int[] tokens = new Random(2).ints(48, 3, 250).toArray();
    return backend.run(List.of(new Pass(tokens, 600, context, 2, false, Logits.NONE, probe))).getFirst().attention();
  }

  private static List<Integer> list(int seed) {
    return new Random(seed).ints(0, DOCUMENTS).distinct().limit(10).boxed().toList();
  }

  private static float[] expected(int list) {
    List<KvSegment> documents = list(list).stream().map(i -> roomy.restore(images.get(i))).toList();
    return score(roomy, roomy.restore(instruction), documents);
  }

  @Test
  void documentsThatWereReadMoveToTheHostAndBack() throws IOException {
    try (CudaBackend small = open(SMALL, 64 << 20)) {
      KvSegment first = kv(small.run(List.of(read(1, 64, 0, List.of()))).getFirst());
      List<KvSegment> documents = new ArrayList<>();
      for (int i = 0; i < DOCUMENTS; i++) {
        documents.add(kv(small.run(List.of(read(100 + i, 20 + (i * 37) % 140, 64, List.of(first)))).getFirst()));
      }
      assertThat(small.memory().moved()).isPositive();
      assertThat(small.memory().device()).isLessThanOrEqualTo(SMALL);
      for (int seed = 0; seed < 20; seed++) {
        assertThat(score(small, first, list(seed).stream().map(documents::get).toList())).isEqualTo(expected(seed));
      }
      for (int i = 0; i < DOCUMENTS; i++) {
        assertThat(small.image(documents.get(i)).mismatch(images.get(i))).as("document %d", i).isEqualTo(-1);
      }
      assertThat(small.memory().device()).isLessThanOrEqualTo(SMALL);
    }
  }

  /** Without host memory, with too little of it, and with enough. */
  @ParameterizedTest
  @ValueSource(longs = {0, 1 << 20, 64 << 20})
  void documentsFromFilesComeAsTheyAreNeeded(long host) throws IOException {
    try (CudaBackend small = open(SMALL, host)) {
      KvSegment first = small.restore(instruction);
      List<KvSegment> documents = images.stream().map(small::restore).toList();
      assertThat(small.memory().device()).isZero();
      for (int round = 0; round < 2; round++) {
        for (int seed = 0; seed < 20; seed++) {
          float[] scores = score(small, first, list(seed).stream().map(documents::get).toList());
          assertThat(scores).as("list %d", seed).isEqualTo(expected(seed));
        }
      }
      assertThat(small.memory().device()).isPositive().isLessThanOrEqualTo(SMALL);
      assertThat(small.memory().host()).isLessThanOrEqualTo(host);
      documents.forEach(small::forget);
    }
  }

  /**
   * What was read stays where it is once it is stored, though nobody else holds it; and comes from there when it had to
   * go.
   */
  @Test
  void aStoredDocumentNeedsNoCopy() throws IOException {
    try (CudaBackend small = open(SMALL, 0)) {
      KvSegment first = kv(small.run(List.of(read(1, 64, 0, List.of()))).getFirst());
      List<WeakReference<KvSegment>> documents = new ArrayList<>();
      for (int i = 0; i < DOCUMENTS; i++) {
        KvSegment document = kv(small.run(List.of(read(100 + i, 20 + (i * 37) % 140, 64, List.of(first)))).getFirst());
        assertThat(small.stored(document, images.get(i))).isTrue();
        documents.add(new WeakReference<>(document));
        System.gc();
      }
      assertThat(small.memory().device()).isGreaterThan(SMALL / 2).isLessThanOrEqualTo(SMALL);
      List<KvSegment> there = documents.subList(DOCUMENTS - 10, DOCUMENTS).stream().map(WeakReference::get).toList();
      assertThat(there).doesNotContainNull();
      List<KvSegment> again = images.subList(DOCUMENTS - 10, DOCUMENTS).stream().map(roomy::restore).toList();
      assertThat(score(small, first, there)).isEqualTo(score(roomy, roomy.restore(instruction), again));
      for (int seed = 0; seed < 10; seed++) {
        List<KvSegment> list = list(seed).stream().map(i -> {
          KvSegment kept = documents.get(i).get();
          return kept == null ? small.restore(images.get(i)) : kept;
        }).toList();
        assertThat(score(small, first, list)).as("list %d", seed).isEqualTo(expected(seed));
      }
      assertThatThrownBy(() -> small.stored(first, images.get(3))).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void aListThatCannotFitIsRefusedAndTheNextOneRuns() throws IOException {
    try (CudaBackend small = open(2 << 20, 1 << 20)) {
      KvSegment first = small.restore(instruction);
      List<KvSegment> documents = images.stream().map(small::restore).toList();
      assertThatThrownBy(() -> score(small, first, documents))
          .isInstanceOf(CudaException.class).hasMessageContaining("limit");
      List<KvSegment> few = documents.subList(0, 5);
      List<KvSegment> alone = images.subList(0, 5).stream().map(roomy::restore).toList();
      assertThat(score(small, first, few)).isEqualTo(score(roomy, roomy.restore(instruction), alone));
    }
  }

  /**
   * Lists of many callers that together exceed the device, some interrupted, while prompts are read and decoded beside.
   */
  @Test
  void callsSideBySideGiveWhatTheyGiveAlone() throws Exception {
    List<float[]> alone = IntStream.range(0, 40).mapToObj(CudaResidencyTest::expected).toList();
    KvSegment prompt = kv(roomy.run(List.of(prompt(300))).getFirst());
    float[][] logits = IntStream.range(0, 20).mapToObj(i -> step(roomy, prompt, i)).toArray(float[][]::new);
    for (long host : new long[] {0, 3 << 20, 64 << 20}) {
      try (CudaBackend small = open(SMALL, host)) {
        InferenceBackend beside = small.beside();
        KvSegment first = small.restore(instruction);
        List<KvSegment> documents = images.stream().map(small::restore).toList();
        KvSegment own = kv(beside.run(List.of(prompt(300))).getFirst());
        Queue<String> wrong = new ConcurrentLinkedQueue<>();
        List<Callable<Integer>> callers = new ArrayList<>();
        for (int caller = 0; caller < 8; caller++) {
          int number = caller;
          callers.add(() -> {
            int done = 0;
            for (int i = 0; i < 150; i++) {
              int seed = (i * 7 + number * 5) % 40;
              if (number == 7 && i % 3 == 0) {
                Thread.currentThread().interrupt();
              }
              try {
                List<KvSegment> list = list(seed).stream().map(documents::get).toList();
                if (!Arrays.equals(score(small, first, list), alone.get(seed))) {
                  wrong.add("list " + seed);
                }
                done++;
              } catch (CancellationException e) {
                Thread.interrupted();
              }
            }
            return done;
          });
        }
        for (int caller = 0; caller < 2; caller++) {
          callers.add(() -> {
            for (int i = 0; i < 400; i++) {
              if (!Arrays.equals(step(beside, own, i % 20), logits[i % 20])) {
                wrong.add("step " + i % 20);
              }
            }
            return 400;
          });
        }
        callers.add(() -> {
          for (int i = 0; i < 60; i++) {
            KvSegment again = kv(small.run(List.of(read(100 + i, 20 + (i * 37) % 140, 64, List.of(first)))).getFirst());
            if (small.image(again).mismatch(images.get(i)) != -1) {
              wrong.add("document " + i);
            }
          }
          return 60;
        });
        try (ExecutorService threads = Executors.newCachedThreadPool()) {
          List<Future<Integer>> results = threads.invokeAll(callers);
          assertThat(results.get(0).get()).isEqualTo(150);
          assertThat(results.get(7).get()).isBetween(50, 150);
          for (Future<Integer> result : results) {
            result.get();
          }
        }
        assertThat(wrong).as("with %d bytes of the host", host).isEmpty();
        assertThat(small.memory().device()).isLessThanOrEqualTo(SMALL);
      }
    }
  }

  private static Pass prompt(int count) {
    return new Pass(new Random(9).ints(count, 3, 250).toArray(), 0, List.of(), LAYERS, true, Logits.NONE, null);
  }

  private static float[] step(InferenceBackend backend, KvSegment prompt, int token) {
    Pass pass = new Pass(new int[] {30 + token}, 300, List.of(prompt), LAYERS, true, Logits.LAST, null);
    return backend.run(List.of(pass)).getFirst().logits()[0];
  }

  @Test
  void whatNobodyHoldsIsGivenBack() throws Exception {
    try (CudaBackend backend = open(64 << 20, 4 << 20)) {
      KvSegment first = backend.restore(instruction);
      for (int round = 0; round < 3; round++) {
        List<KvSegment> documents = new ArrayList<>(images.stream().map(backend::restore).toList());
        score(backend, first, documents);
        assertThat(backend.memory().device()).isGreaterThan(4 << 20);
        documents.forEach(backend::forget);
        documents.clear();
        for (int i = 0; i < 100 && backend.memory().device() > 1 << 20; i++) {
          System.gc();
          Thread.sleep(10);
          score(backend, first, List.of(first));
        }
        assertThat(backend.memory().device()).isLessThan(1 << 20);
        assertThat(backend.memory().host()).isLessThan(1 << 20);
      }
    }
  }
}
