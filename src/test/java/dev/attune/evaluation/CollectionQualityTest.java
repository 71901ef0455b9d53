package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.ranking.RankFusion;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.Embedder;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The index against published BM25 figures of test collections; skipped where the collections are not at hand. */
class CollectionQualityTest {

  private static final Path DATA = Path.of(System.getProperty("attune.test.data", "../shared/data"));

  @TempDir Path directory;

  @ParameterizedTest
  @CsvSource({"cranfield, 0.348", "npl, 0.423"})
  void wordsReachThePublishedBaseline(String name, double published) {
    Assumptions.assumeTrue(
        Files.isDirectory(DATA.resolve(name)),
        () -> DATA.toAbsolutePath().normalize() + " has no " + name + "; -Dattune.test.data names another place");
    Dataset dataset = new DatasetReader(DATA).read(name, 0);
    try (EvaluationIndex index =
        EvaluationIndex.open(directory, dataset, new Unused(), false, new PrintWriter(System.out))) {
      QueryRanking.Setting setting =
          new QueryRanking.Setting(
              index.documents(), Mode.LEXICAL, 100, List.of(),
              () -> {
                throw new AssertionError("no model was asked for");
              },
              new RankFusion(0, 0));
      RankingEvaluation.Result result =
          RankingEvaluation.run(
                  dataset, List.of(RankingSystem.of("bm25")), setting, null, new Progress(new PrintWriter(System.out)))
              .getFirst();
      MeasuredResult kept = Objects.requireNonNull(MeasuredResult.bundled().get("retrieval"));
      MeasuredResult.Row row = Objects.requireNonNull(kept.row(Map.of("dataset", name, "system", "bm25")));
      assertThat(result.ndcg())
          .isCloseTo(row.figures().get("ndcg10"), within(kept.tolerances().get("ndcg10")))
          .isGreaterThan(published);
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
