package dev.attune.search;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * How near documents are to a user's interests: the overlap of a document's entities with the user's, where an entity
 * counts the less the more of the candidates share it. What all candidates have in common says nothing about any one
 * of them, so someone who likes science fiction is not shown each science fiction film as made for them.
 *
 * <p>An entity contributes w · r, with w = interest / (interest + 1) in [0,1) and
 * r = ln((n + 1) / df) / ln(n + 1) in [0,1]: n candidates, df of them with the entity. A document's affinity is
 * 1 − ∏ (1 − w · r), in [0,1): it grows with every shared entity and never passes 1.
 */
final class Affinity {

  private Affinity() {}

  /**
   * Contribution of each entity to each document.
   *
   * @param documents entity ids per candidate
   * @param interests decayed interest &gt; 0 by entity id
   * @return per candidate, strongest first; entities without a contribution are left out
   */
  static List<Map<String, Double>> contributions(List<Set<String>> documents, Map<String, Double> interests) {
    Map<String, Integer> frequency = new HashMap<>();
    for (Set<String> document : documents) {
      document.stream().filter(interests::containsKey).forEach(id -> frequency.merge(id, 1, Integer::sum));
    }
    double all = Math.log(documents.size() + 1);
    List<Map<String, Double>> contributions = new ArrayList<>();
    for (Set<String> document : documents) {
      List<Map.Entry<String, Double>> entries = new ArrayList<>();
      for (String id : document) {
        double interest = interests.getOrDefault(id, 0.0);
        if (interest > 0) {
          double rarity = Math.log((documents.size() + 1.0) / frequency.getOrDefault(id, 1)) / all;
          entries.add(Map.entry(id, interest / (interest + 1) * rarity));
        }
      }
      entries.sort(
          Comparator.comparingDouble((Map.Entry<String, Double> e) -> -e.getValue()).thenComparing(Map.Entry::getKey));
      Map<String, Double> sorted = new LinkedHashMap<>();
      entries.forEach(e -> sorted.put(e.getKey(), e.getValue()));
      contributions.add(sorted);
    }
    return contributions;
  }

  /** Affinity of one document in [0,1]. */
  static double total(Map<String, Double> contributions) {
    double miss = 1;
    for (double contribution : contributions.values()) {
      miss *= 1 - contribution;
    }
    return 1 - miss;
  }
}
