package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.attune.evaluation.MeasuredResult.Row;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class MeasuredResultTest {

  private static MeasuredResult result(double ndcg, double queries) {
    Map<String, Double> figures = new LinkedHashMap<>();
    figures.put("queries", queries);
    figures.put("ndcg10", ndcg);
    figures.put("difference", 0.01);
    return new MeasuredResult(
        "retrieval", "A: title", "evaluate ranking --queries 0", "abc", "2026-01-02", "2 cores", null,
        "More\nthan one line", Map.of("npl", "0123"), Map.of("ndcg10", 0.002), List.of("dataset"),
        List.of(new Row(Map.of("dataset", "007"), figures)));
  }

  @Test
  void yamlIsReadAsItWasWritten() {
    MeasuredResult result = result(0.4316, 93);
    assertThat(MeasuredResult.read("retrieval", result.yaml())).isEqualTo(result);
    assertThat(result.yaml()).contains("- {dataset: '007', queries: 93, ndcg10: 0.4316, difference: 0.01}");
  }

  @Test
  void saysWhatMovedMoreThanItsTolerance() {
    MeasuredResult kept = result(0.4316, 93);
    assertThat(ResultComparison.differences(kept, result(0.4336, 93))).isEmpty();
    assertThat(ResultComparison.differences(kept, result(0.4296, 93))).isEmpty();
    assertThat(ResultComparison.differences(kept, result(0.4295, 93)))
        .containsExactly("retrieval 007: nDCG@10 moved from 0.4316 to 0.4295, more than 0.002");
    assertThat(ResultComparison.differences(kept, result(0.44, 93))).hasSize(1);
    assertThat(ResultComparison.differences(kept, result(Double.NaN, 93))).hasSize(1);
    assertThat(ResultComparison.differences(kept, result(0.4316, 92))).singleElement().asString().contains("queries");
    MeasuredResult otherData =
        new MeasuredResult(
            "retrieval", "", "", "", "", "", null, null, Map.of("npl", "4567"), Map.of(), List.of("dataset"),
            List.of());
    assertThat(ResultComparison.differences(kept, otherData)).hasSize(2);
  }

  @Test
  void aPlaceOfADocumentIsFilled() {
    Map<String, MeasuredResult> results = Map.of("retrieval", result(0.5, 3));
    String filled = ResultTable.fill(
        "Before\n<!-- result: retrieval -->\nold\n<!-- end of result -->\nAfter\n", results);
    assertThat(filled)
        .isEqualTo(
            "Before\n<!-- result: retrieval -->\n"
                + "`evaluate ranking --queries 0` · 2026-01-02, commit abc, 2 cores. More than one line\n\n"
                + "| dataset | queries | nDCG@10 | difference |\n| --- | ---: | ---: | ---: |\n"
                + "| 007 | 3 | 0.5000 | +0.0100 |\n<!-- end of result -->\nAfter\n");
    assertThat(ResultTable.fill(filled, results)).isEqualTo(filled);
    assertThatIllegalArgumentException().isThrownBy(() -> ResultTable.fill("no place", results));
    assertThatIllegalArgumentException().isThrownBy(() -> ResultTable.fill(filled, Map.of()));
  }

  /** {@code evaluate report} writes them. */
  @Test
  void theTablesOfTheDocumentationAreThoseOfTheResults() throws IOException {
    String document = Files.readString(Path.of("docs/benchmarks.md"));
    Map<String, MeasuredResult> kept = MeasuredResult.in(Path.of("src/main/resources/evaluation/results"));
    assertThat(kept).isNotEmpty().isEqualTo(MeasuredResult.bundled());
    assertThat(ResultTable.fill(document, kept)).isEqualTo(document);
  }
}
