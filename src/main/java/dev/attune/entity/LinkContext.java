package dev.attune.entity;

import java.util.Map;
import java.util.Set;

/**
 * What is known around a text that is to be linked.
 *
 * @param sessionEntityIds entities of the same session or page; they make their neighbours more likely
 * @param userCounts how often the user met an entity; its influence on the choice is bounded
 */
public record LinkContext(Set<String> sessionEntityIds, Map<String, Integer> userCounts) {

  public static final LinkContext NONE = new LinkContext(Set.of(), Map.of());

  public LinkContext {
    sessionEntityIds = Set.copyOf(sessionEntityIds);
    userCounts = Map.copyOf(userCounts);
  }
}
