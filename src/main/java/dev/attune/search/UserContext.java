package dev.attune.search;

import dev.attune.knowledge.UserKnowledge.SelectedEntity;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a search knows of its user.
 *
 * @param userId null when nothing of a user is used
 * @param selected entities that matter for the query, best first
 */
record UserContext(@Nullable String userId, List<SelectedEntity> selected) {

  static final UserContext NOBODY = new UserContext(null, List.of());

  /** One line per entity that the user really met. */
  List<String> memory() {
    return selected.stream()
        .filter(entity -> entity.count() > 0)
        .map(entity -> entity.label() + " (" + entity.type() + ")")
        .toList();
  }

  /**
   * The user's entities in the candidates.
   *
   * @param contributions per candidate: entity id to contribution, strongest first
   */
  record Overlap(List<Map<String, Double>> contributions) {

    static Overlap none(int candidates) {
      return new Overlap(Collections.nCopies(candidates, Map.of()));
    }

    double affinity(int candidate) {
      return Affinity.total(contributions.get(candidate));
    }
  }
}
