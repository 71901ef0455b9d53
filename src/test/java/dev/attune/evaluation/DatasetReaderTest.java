package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.attune.retrieval.Document;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatasetReaderTest {

  @TempDir Path data;

  @BeforeEach
  void write() throws IOException {
    zip(
        "npl/corpus.jsonl.gz",
        "{\"_id\":\"1\",\"title\":\"One\",\"text\":\"first\"}\n{\"_id\":\"2\",\"title\":\"\",\"text\":\"second\"}\n");
    zip("npl/queries.jsonl.gz",
        "{\"_id\":\"q1\",\"text\":\"a\"}\n{\"_id\":\"q2\",\"text\":\"b\"}\n{\"_id\":\"q3\",\"text\":\"c\"}\n");
    Files.createDirectories(data.resolve("npl/qrels"));
    Files.writeString(data.resolve("npl/qrels/test.tsv"),
        "query-id\tcorpus-id\tscore\nq1\t1\t2\nq1\t2\t0\nq2\t2\t1\nq3\t1\t0\n");
  }

  @Test
  void readsTheBeirLayout() {
    Dataset dataset = new DatasetReader(data).read("npl", 0);
    try (Stream<Document> corpus = dataset.corpus().get()) {
      assertThat(corpus).extracting(Document::id, Document::title, Document::text)
          .containsExactly(
              org.assertj.core.api.Assertions.tuple("1", "One", "first"),
              org.assertj.core.api.Assertions.tuple("2", "", "second"));
    }
    assertThat(dataset.queries()).extracting(Dataset.Query::id).containsExactly("q1", "q2");
    assertThat(dataset.judgments().get("q1")).isEqualTo(Map.of("1", 2, "2", 0));
  }

  @Test
  void aLimitKeepsWhatCanBeAnswered() {
    Dataset dataset = new DatasetReader(data).read("npl", 0).limitedTo(1);
    assertThat(dataset.queries()).extracting(Dataset.Query::id).containsExactly("q1");
    assertThat(dataset.judgments().get("q1")).isEqualTo(Map.of("1", 2));
  }

  @Test
  void aSampleIsTheSameEveryTime() {
    DatasetReader reader = new DatasetReader(data);
    assertThat(reader.read("npl", 1).queries()).hasSize(1).isEqualTo(reader.read("npl", 1).queries());
  }

  @Test
  void saysWhatIsMissing() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new DatasetReader(data).read("cranfield", 0))
        .withMessageContaining("cranfield/corpus.jsonl")
        .withMessageContaining("--data");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new DatasetReader(data).read("trec", 0))
        .withMessageContaining("cranfield");
  }

  private void zip(String name, String content) throws IOException {
    Path file = data.resolve(name);
    Files.createDirectories(file.getParent());
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write(content.getBytes(StandardCharsets.UTF_8));
    }
  }
}
