package dev.attune.retrieval;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class OnnxEmbedderTest {

  private final Embedder embedder = SharedEmbedder.INSTANCE;

  /** The reference comes from {@code training/embedding/reference.py}: PyTorch, not ONNX Runtime, not DJL. */
  @Test
  void agreesWithTheReferenceImplementation() throws IOException {
    JsonNode rows;
    try (InputStream in = OnnxEmbedderTest.class.getResourceAsStream("/retrieval/minilm-reference.json")) {
      rows = JsonMapper.builder().build().readTree(in);
    }
    assertThat(rows).hasSize(6);
    List<String> texts = new ArrayList<>();
    rows.forEach(row -> texts.add(row.path("text").stringValue()));
    List<float[]> vectors = embedder.embed(texts);
    for (int i = 0; i < texts.size(); i++) {
      JsonNode expected = rows.get(i).path("vector");
      assertThat(vectors.get(i)).hasSize(384);
      for (int d = 0; d < 384; d++) {
        assertThat((double) vectors.get(i)[d])
            .describedAs("text %d, dimension %d", i, d)
            .isCloseTo(expected.get(d).asDouble(), org.assertj.core.api.Assertions.within(2e-5));
      }
    }
  }

  @Test
  void aVectorDoesNotDependOnItsBatch() {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < 70; i++) {
      texts.add("film " + "about a detective ".repeat(i % 17) + i);
    }
    List<float[]> together = embedder.embed(texts);
    for (int i : new int[] {0, 1, 16, 37, 69}) {
      assertThat(dot(together.get(i), embedder.embed(List.of(texts.get(i))).getFirst())).isGreaterThan(0.99999);
    }
  }

  /** ONNX Runtime needs more stack for loading than a thread may have; overflowing it ends the process. */
  @Test
  void loadsOnAThreadWithLittleStack() throws InterruptedException {
    AtomicInteger dimension = new AtomicInteger();
    Thread thread =
        Thread.ofPlatform()
            .stackSize(512 << 10)
            .start(
                () -> {
                  try (OnnxEmbedder small = OnnxEmbedder.open(Path.of("target", "embedding"), 1)) {
                    dimension.set(small.embed(List.of("a")).getFirst().length);
                  }
                });
    thread.join();
    assertThat(dimension).hasValue(384);
  }

  @Test
  void textBeyondTheWindowIsCut() {
    String window = "winter storm ".repeat(140);
    List<float[]> vectors = embedder.embed(List.of(window, window + "and something else entirely"));
    assertThat(dot(vectors.get(0), vectors.get(1))).isGreaterThan(0.99999);
  }

  @Test
  void oddTextsHaveUnitVectors() {
    List<String> texts = List.of("", " ", "🚀🚀🚀", "\u0000\u0001", "x".repeat(1_000_000), "<|im_start|>");
    List<float[]> vectors = embedder.embed(texts);
    assertThat(vectors).hasSize(texts.size());
    vectors.forEach(vector -> assertThat(dot(vector, vector)).isBetween(0.9999, 1.0001));
    assertThat(embedder.embed(List.of())).isEmpty();
  }

  @Test
  void concurrentCallsGetTheirOwnVectors() {
    List<String> texts = Collections.nCopies(4, "").stream().map(s -> s + "text " + Math.random()).toList();
    List<float[]> alone = texts.stream().map(text -> embedder.embed(List.of(text)).getFirst()).toList();
    List<Double> similarity =
        java.util.stream.IntStream.range(0, 40)
            .parallel()
            .mapToObj(i -> dot(alone.get(i % 4), embedder.embed(List.of(texts.get(i % 4))).getFirst()))
            .toList();
    assertThat(similarity).allMatch(value -> value > 0.99999);
  }

  /** Freeing what a native call uses would end the process, this one too. */
  @Test
  void closingWaitsForCallsUnderWay() throws InterruptedException {
    OnnxEmbedder closing = OnnxEmbedder.open(Path.of("target", "embedding"), 1);
    AtomicInteger done = new AtomicInteger();
    List<Throwable> ends = Collections.synchronizedList(new ArrayList<>());
    List<Thread> callers = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      callers.add(Thread.ofPlatform().start(() -> {
        try {
          while (true) {
            closing.embed(Collections.nCopies(8, "a text that is read again and again"));
            done.incrementAndGet();
          }
        } catch (IllegalStateException e) {
          ends.add(e);
        }
      }));
    }
    while (done.get() < 6) {
      Thread.sleep(5);
    }
    closing.close();
    for (Thread caller : callers) {
      caller.join();
    }
    assertThat(ends).hasSize(3).allSatisfy(e -> assertThat(e).hasMessage("The embedding model is closed"));
    closing.close();
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
