package dev.attune.evaluation;

import java.util.Comparator;
import java.util.List;
import java.util.Map;

/**
 * Measures of one ranked list with the conventions of trec_eval 9: documents without a judgment count as grade 0,
 * negative grades as 0, and equal scores are ordered by document id, descending as strings, whatever order the system
 * gave. A query without a relevant document scores 0 in every measure.
 */
final class RankingMetrics {

  private RankingMetrics() {}

  /** A document and the score that a system gave it. */
  record Scored(String id, double score) {}

  /** The order in which trec_eval reads a run. */
  static List<String> order(List<Scored> run) {
    return run.stream()
        .sorted(
            Comparator.comparingDouble(Scored::score)
                .reversed()
                .thenComparing(Comparator.comparing(Scored::id).reversed()))
        .map(Scored::id)
        .toList();
  }

  /**
   * {@code ndcg_cut.k}: gain is the grade, discount is log2(rank + 1), the ideal is made of all judged documents
   * (Järvelin and Kekäläinen 2002, as in trec_eval).
   *
   * @param grades judgments of the query by document id
   */
  static double ndcg(List<String> ranking, Map<String, Integer> grades, int k) {
    double gain = 0;
    for (int i = 0; i < Math.min(k, ranking.size()); i++) {
      gain += Math.max(0, grades.getOrDefault(ranking.get(i), 0)) / log2(i + 2);
    }
    List<Integer> ideal = grades.values().stream().sorted(Comparator.reverseOrder()).limit(k).toList();
    double idealGain = 0;
    for (int i = 0; i < ideal.size(); i++) {
      idealGain += Math.max(0, ideal.get(i)) / log2(i + 2);
    }
    return idealGain == 0 ? 0 : gain / idealGain;
  }

  /** One over the rank of the first relevant document among the first {@code k}, 0 if there is none. */
  static double reciprocalRank(List<String> ranking, Map<String, Integer> grades, int k) {
    for (int i = 0; i < Math.min(k, ranking.size()); i++) {
      if (grades.getOrDefault(ranking.get(i), 0) > 0) {
        return 1.0 / (i + 1);
      }
    }
    return 0;
  }

  /** {@code recall.k}: share of the relevant documents that are among the first {@code k}. */
  static double recall(List<String> ranking, Map<String, Integer> grades, int k) {
    long relevant = grades.values().stream().filter(grade -> grade > 0).count();
    long found = ranking.stream().limit(k).filter(id -> grades.getOrDefault(id, 0) > 0).count();
    return relevant == 0 ? 0 : (double) found / relevant;
  }

  private static double log2(double x) {
    return Math.log(x) / Math.log(2);
  }
}
