package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.Embedder;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The index against published BM25 figures of test collections; skipped where the collections are not at hand. */
class CollectionQualityTest {

  private static final Path DATA = Path.of(System.getProperty("attune.test.data", "../shared/data"));

  @TempDir Path directory;

  @ParameterizedTest
  @ValueSource(strings = {"cranfield", "npl"})
  void wordsReachThePublishedBaseline(String name) {
    Assumptions.assumeTrue(
        Files.isDirectory(DATA.resolve(name)),
        () -> DATA.toAbsolutePath().normalize() + " has no " + name + "; -Dattune.test.data names another place");
    Dataset dataset = new DatasetReader(DATA).read(name, 0);
    try (EvaluationIndex index =
        EvaluationIndex.open(directory, dataset, new Unused(), false, new PrintWriter(System.out))) {
      RankingEvaluation.Result result =
          RankingEvaluation.run(dataset, "bm25", RankingSystem.retrieval(index.documents(), Mode.LEXICAL, 100));
      ExpectedResults.Expected expected =
          ExpectedResults.load().find(name, "bm25", dataset.queries().size()).orElseThrow();
      assertThat(result.ndcg()).isGreaterThan(expected.ndcg() - expected.tolerance());
    }
  }

  /** Words alone need no vectors. */
  private static final class Unused implements Embedder {
    @Override
    public int dimension() {
      return 1;
    }

    @Override
    public List<float[]> embed(List<String> texts) {
      throw new AssertionError("no vectors were asked for");
    }
  }
}
