package dev.attune.evaluation;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Runs one system over the queries of a collection. */
final class RankingEvaluation {

  static final int NDCG_DEPTH = 10;
  static final int MRR_DEPTH = 10;
  static final int RECALL_DEPTH = 100;

  private RankingEvaluation() {}

  /** Ranks every query once, after a few that are not counted in the times. */
  static Result run(Dataset dataset, String system, RankingSystem ranking) {
    List<Dataset.Query> queries = dataset.queries();
    queries.stream().limit(3).forEach(query -> ranking.rank(query.text()));
    double[] ndcg = new double[queries.size()];
    double[] reciprocalRank = new double[queries.size()];
    double[] recall = new double[queries.size()];
    double[] millis = new double[queries.size()];
    for (int i = 0; i < queries.size(); i++) {
      long start = System.nanoTime();
      List<RankingMetrics.Scored> run = ranking.rank(queries.get(i).text());
      millis[i] = (System.nanoTime() - start) / 1e6;
      List<String> order = RankingMetrics.order(run);
      Map<String, Integer> grades = dataset.judgments().getOrDefault(queries.get(i).id(), Map.of());
      ndcg[i] = RankingMetrics.ndcg(order, grades, NDCG_DEPTH);
      reciprocalRank[i] = RankingMetrics.reciprocalRank(order, grades, MRR_DEPTH);
      recall[i] = RankingMetrics.recall(order, grades, RECALL_DEPTH);
    }
    return new Result(dataset.name(), system, ndcg, mean(reciprocalRank), mean(recall), median(millis));
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElse(0);
  }

  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int n = sorted.length;
    return n == 0 ? 0 : n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }

  /**
   * What a system reached on a collection.
   *
   * @param ndcgs nDCG@10 by query
   * @param mrr MRR@10
   * @param recall Recall@100
   * @param medianMillis time of one query
   */
  record Result(String dataset, String system, double[] ndcgs, double mrr, double recall, double medianMillis) {
    double ndcg() {
      return mean(ndcgs);
    }
  }
}
