package dev.attune.evaluation;

import dev.attune.evaluation.MeasuredResult.Row;
import dev.attune.evaluation.RankingEvaluation.Result;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The results of one collection as rows of a table; later systems are compared with the first. */
final class RankingRows {

  static final List<String> KEYS = List.of("dataset", "system");

  /** A repetition gives the same figures but for the last bits of another machine. */
  static final Map<String, Double> TOLERANCES = Map.of("ndcg10", 0.002, "mrr10", 0.004, "recall100", 0.002);

  private RankingRows() {}

  static List<Row> of(List<Result> results) {
    List<Row> rows = new ArrayList<>();
    Result first = results.getFirst();
    for (Result result : results) {
      Map<String, String> keys = new LinkedHashMap<>();
      keys.put("dataset", result.dataset());
      keys.put("system", result.system());
      double[] interval = Significance.bootstrap(result.ndcgs());
      Map<String, Double> figures = new LinkedHashMap<>();
      figures.put("queries", (double) result.queries().size());
      figures.put("ndcg10", result.ndcg());
      figures.put("low", interval[0]);
      figures.put("high", interval[1]);
      figures.put("mrr10", result.mrr());
      figures.put("recall100", result.recall());
      if (result != first) {
        figures.put("difference", result.ndcg() - first.ndcg());
        figures.put("p", Significance.pairedRandomisation(result.ndcgs(), first.ndcgs()));
      }
      if (!Double.isNaN(result.medianMillis())) {
        figures.put("ms", result.medianMillis());
      }
      rows.add(new Row(keys, figures));
    }
    return rows;
  }
}
