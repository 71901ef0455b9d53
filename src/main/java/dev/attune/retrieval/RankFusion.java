package dev.attune.retrieval;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009): an item scores the sum of {@code 1/(60 + rank)} over
 * the lists that hold it.
 */
final class RankFusion {

  static final int K = 60;

  private RankFusion() {}

  /**
   * Fuses rankings without duplicates.
   *
   * @return best first; equal scores in the order of the first list, then of the next
   */
  static <T> List<Fused<T>> fuse(List<List<T>> rankings) {
    Map<T, Double> scores = new LinkedHashMap<>();
    for (List<T> ranking : rankings) {
      for (int i = 0; i < ranking.size(); i++) {
        scores.merge(ranking.get(i), 1.0 / (K + i + 1), Double::sum);
      }
    }
    List<Fused<T>> fused = new ArrayList<>(scores.size());
    scores.forEach((item, score) -> fused.add(new Fused<>(item, score)));
    fused.sort(Comparator.comparingDouble((Fused<T> f) -> f.score()).reversed());
    return fused;
  }

  record Fused<T>(T item, double score) {}
}
