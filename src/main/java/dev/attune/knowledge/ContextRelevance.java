package dev.attune.knowledge;

import dev.attune.entity.Entity;
import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.LinkContext;
import dev.attune.entity.Mention;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/**
 * How much entities have to do with what a user is looking at, in [0,1]: those named by the query, the page or the
 * session; their neighbours in the knowledge base, up to two steps; and what the user met together with them. A step
 * through a hub (a genre with thousands of films) counts little.
 */
final class ContextRelevance {

  private static final double QUERY = 1;
  private static final double PAGE = 0.7;
  private static final double SESSION = 0.5;
  private static final double STEP = 0.6;
  private static final double MET_TOGETHER = 0.45;
  private static final int MAX_PAGE_MENTIONS = 12;
  private static final int MAX_CONTEXT = 16;
  private static final int MAX_KNOWN = 500;
  private static final int HUB = 32;

  private final KnowledgeBase knowledge;
  private final Map<String, Double> direct = new LinkedHashMap<>();
  private final Map<String, Double> relevance = new HashMap<>();
  private final Map<String, Double> neighbours = new HashMap<>();

  private ContextRelevance(KnowledgeBase knowledge) {
    this.knowledge = knowledge;
  }

  /**
   * Relevance of the entities of a store.
   *
   * @param metTogether entities of the store met in the same contexts as the given ones, with how often
   */
  static ContextRelevance of(UserKnowledge.SelectionContext context, StoreView store, KnowledgeBase knowledge,
      EntityLinker linker, Function<Collection<String>, Map<String, Integer>> metTogether) {
    ContextRelevance relevance = new ContextRelevance(knowledge);
    relevance.named(context, store, linker);
    relevance.direct.forEach(relevance::raise);
    relevance.neighbours();
    relevance.neighbours.forEach(relevance::raise);
    relevance.secondStep(store);
    relevance.together(store, metTogether);
    return relevance;
  }

  private void raise(String entityId, double value) {
    relevance.merge(entityId, Math.min(1, value), Math::max);
  }

  private void named(UserKnowledge.SelectionContext context, StoreView store, EntityLinker linker) {
    Set<String> session = new HashSet<>();
    context.sessionEntityIds().forEach(id -> session.add(knowledge.canonicalId(id)));
    LinkContext link = new LinkContext(session, store.counts());
    if (context.query() != null) {
      for (Mention mention : linker.link(context.query(), link)) {
        direct.merge(mention.entityId(), QUERY, Math::max);
      }
    }
    if (context.page() != null) {
      Map<String, Integer> counts = new LinkedHashMap<>();
      linker.link(context.page(), link).forEach(mention -> counts.merge(mention.entityId(), 1, Integer::sum));
      counts.entrySet().stream().sorted(Map.Entry.<String, Integer>comparingByValue().reversed())
          .limit(MAX_PAGE_MENTIONS)
          .forEach(entry -> direct.merge(entry.getKey(), PAGE, Math::max));
    }
    session.forEach(id -> direct.merge(id, SESSION, Math::max));
  }

  private void neighbours() {
    direct.entrySet().stream()
        .sorted(Map.Entry.<String, Double>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()))
        .limit(MAX_CONTEXT)
        .forEach(entry -> {
          double weight = entry.getValue() * STEP * focus(entry.getKey());
          int rank = 0;
          for (Entity.Neighbour neighbour : knowledge.neighbours(entry.getKey())) {
            neighbours.merge(neighbour.id(), weight / (1 + 0.03 * rank), Math::max);
            rank++;
          }
        });
  }

  /** 1 for an entity with few relations, towards 0 for a hub. */
  double focus(String entityId) {
    return 1 / (1 + Math.log1p((double) knowledge.degree(entityId) / HUB) / Math.log(2));
  }

  /** From a neighbour on to the store, or from the store back to a neighbour, whichever side states the relation. */
  private void secondStep(StoreView store) {
    Map<String, Double> focused = new HashMap<>();
    neighbours.entrySet().stream()
        .sorted(Map.Entry.<String, Double>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()))
        .limit(MAX_KNOWN)
        .forEach(entry -> {
          double weight = entry.getValue() * STEP * focus(entry.getKey());
          focused.put(entry.getKey(), weight);
          for (String next : knowledge.statedNeighbours(entry.getKey())) {
            if (store.has(next)) {
              raise(next, weight * focus(next));
            }
          }
        });
    if (focused.isEmpty()) {
      return;
    }
    store.all().stream().limit(MAX_KNOWN).forEach(known -> {
      for (String stated : knowledge.statedNeighbours(known.entityId())) {
        Double weight = focused.get(stated);
        if (weight != null) {
          raise(known.entityId(), weight);
        }
      }
    });
  }

  private void together(StoreView store, Function<Collection<String>, Map<String, Integer>> metTogether) {
    Set<String> known = new HashSet<>();
    for (String id : direct.keySet()) {
      StoreView.Known found = store.find(id);
      if (found != null) {
        known.addAll(found.storedIds());
      }
    }
    if (!known.isEmpty()) {
      metTogether.apply(known).forEach((id, contexts) ->
          raise(knowledge.canonicalId(id), MET_TOGETHER * contexts / (contexts + 1.0)));
    }
  }

  /** Relevance of an entity; 0 if it has nothing to do with the context. */
  double of(String entityId) {
    return relevance.getOrDefault(entityId, 0.0);
  }

  /** Entities named by the query, the page or the session. */
  Set<String> named() {
    return direct.keySet();
  }

  /** Entities of the store that are relevant, most relevant first. */
  List<StoreView.Known> relevant(StoreView store, double atLeast) {
    return store.all().stream()
        .filter(known -> of(known.entityId()) >= atLeast)
        .sorted(Comparator.comparingDouble((StoreView.Known known) -> -of(known.entityId()))
            .thenComparing(StoreView.Known::entityId))
        .toList();
  }
}
