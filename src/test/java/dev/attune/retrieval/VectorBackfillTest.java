package dev.attune.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VectorBackfillTest {

  private static final List<Document> DOCUMENTS =
      IntStream.range(0, 40)
          .mapToObj(i -> new Document(
              "d" + i, "Title " + i, i == 7 ? "a dog barks" : "about tax law", null, null, Map.of()))
          .toList();

  @TempDir Path directory;

  @Test
  void wordsAtOnceAndMeaningSoon() {
    try (LuceneDocumentIndex index = open(EmbedMode.BACKGROUND)) {
      index.put(DOCUMENTS);
      assertThat(index.search(request("dog", Mode.LEXICAL)).total()).isEqualTo(1);
      await().atMost(Duration.ofSeconds(60)).until(() -> index.embeddingProgress().embedded() == 40);
      assertThat(index.search(request("puppy", Mode.DENSE)).candidates().getFirst().document().id()).isEqualTo("d7");
      assertThat(index.size()).isEqualTo(40);
    }
  }

  @Test
  void goesOnAfterARestart() {
    try (LuceneDocumentIndex index =
        LuceneDocumentIndex.open(directory, new Broken(), EmbedMode.BACKGROUND, change -> {})) {
      index.put(DOCUMENTS);
      await().atMost(Duration.ofSeconds(60)).until(() -> index.embeddingProgress().error() != null);
      assertThat(index.embeddingProgress().embedded()).isZero();
      var hybrid = index.search(request("dog", Mode.HYBRID));
      assertThat(hybrid.candidates().getFirst().document().id()).isEqualTo("d7");
      assertThat(hybrid.degraded()).containsExactly("embedding");
    }
    try (LuceneDocumentIndex index = open(EmbedMode.BACKGROUND)) {
      await().atMost(Duration.ofSeconds(60)).until(() -> index.embeddingProgress().embedded() == 40);
      assertThat(index.search(request("puppy", Mode.DENSE)).candidates().getFirst().document().id()).isEqualTo("d7");
    }
  }

  @Test
  void aNewerDocumentIsNeverOverwritten() {
    try (LuceneDocumentIndex index = open(EmbedMode.BACKGROUND)) {
      for (int round = 0; round < 5; round++) {
        long version = round;
        index.put(
            DOCUMENTS.stream()
                .map(d -> new Document(d.id(), d.title(), d.text() + version, null, null, Map.of("v", version)))
                .toList());
      }
      index.delete("d3");
      await().atMost(Duration.ofSeconds(60)).until(() -> index.embeddingProgress().embedded() == 39);
      assertThat(index.find("d3")).isEmpty();
      index.forEach(document -> assertThat(document.fields()).containsEntry("v", 4L));
    }
  }

  @Test
  void aChangedFieldKeepsTheVector() {
    try (LuceneDocumentIndex index = open(EmbedMode.INLINE)) {
      index.put(DOCUMENTS);
    }
    // The broken embedder proves that nothing is embedded again.
    try (LuceneDocumentIndex index =
        LuceneDocumentIndex.open(directory, new Broken(), EmbedMode.BACKGROUND, change -> {})) {
      Document dog = DOCUMENTS.get(7);
      index.put(List.of(new Document(dog.id(), dog.title(), dog.text(), null, null, Map.of("v", 1L))));
      assertThat(index.embeddingProgress().embedded()).isEqualTo(40);
      assertThat(index.find("d7").orElseThrow().fields()).containsEntry("v", 1L);
    }
  }

  private LuceneDocumentIndex open(EmbedMode mode) {
    return LuceneDocumentIndex.open(directory, SharedEmbedder.INSTANCE, mode, change -> {});
  }

  private static RetrievalRequest request(String query, Mode mode) {
    return new RetrievalRequest(query, mode, 10, Map.of(), List.of());
  }

  /** An embedder whose model cannot be loaded. */
  private static final class Broken implements Embedder {
    @Override
    public int dimension() {
      return OnnxEmbedder.DIMENSION;
    }

    @Override
    public List<float[]> embed(List<String> texts) {
      throw new IllegalStateException("no model");
    }
  }
}
