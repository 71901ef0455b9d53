package dev.attune.evaluation;

import dev.attune.evaluation.QueryRanking.Ranked;
import dev.attune.evaluation.RankingMetrics.Scored;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;

/** Runs systems over the queries of a collection. */
final class RankingEvaluation {

  static final int NDCG_DEPTH = 10;
  static final int MRR_DEPTH = 10;
  static final int RECALL_DEPTH = 100;

  private RankingEvaluation() {}

  /** The measures of one query. */
  record QueryResult(double ndcg, double reciprocalRank, double recall, double millis) {

    static QueryResult of(List<Scored> ranking, Map<String, Integer> grades, double millis) {
      List<String> order = RankingMetrics.order(ranking);
      return new QueryResult(
          RankingMetrics.ndcg(order, grades, NDCG_DEPTH),
          RankingMetrics.reciprocalRank(order, grades, MRR_DEPTH),
          RankingMetrics.recall(order, grades, RECALL_DEPTH),
          millis);
    }
  }

  /**
   * What a system reached on a collection.
   *
   * @param queries measures in the order of the collection's queries
   */
  record Result(String dataset, String system, List<QueryResult> queries) {

    double[] ndcgs() {
      return values(QueryResult::ndcg);
    }

    double ndcg() {
      return mean(ndcgs());
    }

    double mrr() {
      return mean(values(QueryResult::reciprocalRank));
    }

    double recall() {
      return mean(values(QueryResult::recall));
    }

    double medianMillis() {
      return median(values(QueryResult::millis));
    }

    private double[] values(ToDoubleFunction<QueryResult> measure) {
      return queries.stream().mapToDouble(measure).toArray();
    }
  }

  /**
   * Ranks every query by every system.
   *
   * @param folder keeps what is done and knows what was; null for none
   */
  static List<Result> run(
      Dataset dataset,
      List<RankingSystem> systems,
      QueryRanking.Setting setting,
      @Nullable RunFolder folder,
      Progress progress) {
    Map<String, Map<String, QueryResult>> done = new LinkedHashMap<>();
    systems.forEach(s -> done.put(s.name(), new HashMap<>(folder == null ? Map.of() : folder.done(s.name()))));
    List<Dataset.Query> left =
        dataset.queries().stream()
            .filter(query -> done.values().stream().anyMatch(system -> !system.containsKey(query.id())))
            .toList();
    if (folder == null) {
      // What is loaded or compiled on first use does not count in the times.
      left.stream().limit(3).forEach(q -> systems.stream().filter(s -> s.form() == null)
          .forEach(new QueryRanking(setting, q.text())::by));
    }
    progress.start(dataset.name(), left.size(), dataset.queries().size());
    for (Dataset.Query query : left) {
      QueryRanking ranking = new QueryRanking(setting, query.text());
      for (RankingSystem system : systems) {
        Map<String, QueryResult> results = Objects.requireNonNull(done.get(system.name()));
        if (!results.containsKey(query.id())) {
          Ranked ranked = ranking.by(system);
          Map<String, Integer> grades = dataset.judgments().getOrDefault(query.id(), Map.of());
          QueryResult result = QueryResult.of(ranked.ranking(), grades, ranked.millis());
          results.put(query.id(), result);
          if (folder != null) {
            folder.add(system.name(), query.id(), ranked.ranking(), result);
          }
        }
      }
      progress.step();
    }
    List<Result> results = new ArrayList<>();
    done.forEach(
        (system, of) ->
            results.add(
                new Result(
                    dataset.name(),
                    system,
                    dataset.queries().stream().map(q -> Objects.requireNonNull(of.get(q.id()))).toList())));
    return results;
  }

  static double mean(double[] values) {
    return Arrays.stream(values).average().orElse(0);
  }

  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int n = sorted.length;
    return n == 0 ? 0 : n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
}
