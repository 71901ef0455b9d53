package dev.attune.knowledge;

import dev.attune.entity.Entity;
import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.LinkContext;
import dev.attune.entity.Mention;
import dev.attune.searchlog.LoggedEvent;
import dev.attune.searchlog.LoggedQuery;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.springframework.stereotype.Component;

/**
 * Reads evidence from log items. What an item says depends on the item and the knowledge base alone, not on the
 * session or on what the user did before: so the store does not depend on the order in which a log arrives.
 */
@Component
class EvidenceReader {

  private final EntityLinker linker;
  private final KnowledgeBase knowledge;
  private final KnowledgeProperties properties;

  EvidenceReader(EntityLinker linker, KnowledgeBase knowledge, KnowledgeProperties properties) {
    this.linker = linker;
    this.knowledge = knowledge;
    this.properties = properties;
  }

  /** One piece of evidence per entity of the query; none if nobody can be named. */
  List<Evidence> read(LoggedQuery query) {
    String userId = query.userId();
    if (userId == null) {
      return List.of();
    }
    Map<String, Double> weights = new LinkedHashMap<>();
    for (Mention mention : linker.link(query.text(), LinkContext.NONE)) {
      weights.put(mention.entityId(), properties.queryWeight());
    }
    List<Evidence> evidence = new ArrayList<>();
    weights.forEach((entityId, weight) -> evidence.add(new Evidence(userId, entityId, type(entityId),
        Evidence.Kind.QUERY, query.queryId(), "query", query.queryId(), weight, query.timestamp())));
    return evidence;
  }

  /** One piece of evidence per entity of the event's page; none if the action is no sign of interest. */
  List<Evidence> read(LoggedEvent event) {
    String userId = event.userId();
    LoggedEvent.PageObject object = event.object();
    double actionWeight = event.visit() ? properties.actionWeight(event.action()) : 0;
    if (userId == null || object == null || actionWeight <= 0) {
      return List.of();
    }
    Map<String, Double> weights = object.objectId() == null ? Map.of() : ofDocument(object.objectId());
    if (weights.isEmpty()) {
      weights = ofText(object);
    }
    String context = Objects.requireNonNullElse(event.queryId(), event.eventId());
    List<Evidence> evidence = new ArrayList<>();
    weights.forEach((entityId, weight) -> evidence.add(new Evidence(userId, entityId, type(entityId),
        Evidence.Kind.EVENT, event.eventId(), source(event.action()), context, actionWeight * weight,
        event.timestamp())));
    return evidence;
  }

  private Map<String, Double> ofDocument(String documentId) {
    Map<String, Double> weights = new LinkedHashMap<>();
    Map<String, Integer> perField = new HashMap<>();
    for (Entity.Neighbour named : knowledge.ofDocument(documentId)) {
      if (weights.isEmpty()) {
        weights.put(named.id(), 1.0);
      } else if (perField.merge(named.relation(), 1, Integer::sum) <= properties.entitiesPerField()) {
        weights.putIfAbsent(named.id(), properties.fieldWeight());
      }
    }
    return weights;
  }

  private Map<String, Double> ofText(LoggedEvent.PageObject object) {
    Map<String, Double> weights = new LinkedHashMap<>();
    if (object.title() != null) {
      for (Mention mention : linker.link(object.title(), LinkContext.NONE)) {
        weights.put(mention.entityId(), 1.0);
      }
    }
    if (object.text() != null) {
      Map<String, Integer> counts = new LinkedHashMap<>();
      linker.link(object.text(), LinkContext.NONE).forEach(
          mention -> counts.merge(mention.entityId(), 1, Integer::sum));
      counts.entrySet().stream()
          .sorted(Map.Entry.<String, Integer>comparingByValue().reversed())
          .limit(properties.mentionsPerPage())
          .forEach(entry -> weights.putIfAbsent(entry.getKey(), properties.fieldWeight()));
    }
    return weights;
  }

  private String type(String entityId) {
    return knowledge.find(entityId).map(Entity::type).orElse("thing");
  }

  private static String source(String action) {
    String name = action.toLowerCase(Locale.ROOT);
    if (name.contains("click")) {
      return "click";
    }
    return switch (name) {
      case "view", "view_item", "page_view", "read", "watch" -> "page";
      default -> name;
    };
  }
}
