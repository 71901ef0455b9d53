package dev.attune.search;

import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.knowledge.Mode;
import dev.attune.knowledge.UserKnowledge;
import dev.attune.knowledge.UserKnowledge.SelectedEntity;
import dev.attune.knowledge.UserKnowledge.SelectionContext;
import dev.attune.retrieval.Document;
import dev.attune.search.SearchAnswer.Why;
import dev.attune.search.SearchRequest.Personalization;
import dev.attune.search.UserContext.Overlap;
import dev.attune.searchlog.SearchLog;
import java.time.Duration;
import java.time.Instant;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.springframework.stereotype.Component;

/** Reads from a user's store what one search may use, and says afterwards what it did. */
@Component
class Personalizer {

  /** Interest in an entity that the user never met, but that is next to one they did. */
  private static final double UNFAMILIAR_INTEREST = 0.3;

  /** Contributions below are too small to have moved a hit. */
  private static final double LEAST_CONTRIBUTION = 0.02;

  private static final int MOST_REASONS = 3;
  private static final int MOST_EVENTS = 5;
  private static final Duration LAPSE = Duration.ofDays(14);

  private final UserKnowledge knowledge;
  private final KnowledgeBase knowledgeBase;
  private final DocumentEntities documentEntities;
  private final SearchLog searchLog;
  private final SearchProperties properties;

  Personalizer(
      UserKnowledge knowledge,
      KnowledgeBase knowledgeBase,
      DocumentEntities documentEntities,
      SearchLog searchLog,
      SearchProperties properties) {
    this.knowledge = knowledge;
    this.knowledgeBase = knowledgeBase;
    this.documentEntities = documentEntities;
    this.searchLog = searchLog;
    this.properties = properties;
  }

  /** False while the entities are not in memory yet, shortly after the start. */
  boolean ready() {
    return knowledgeBase.loaded();
  }

  /** What the store holds for a query; nobody when the request or the user's settings say so. */
  UserContext read(SearchRequest request, Instant now) {
    String userId = request.userId();
    if (userId == null
        || request.personalization() == Personalization.OFF
        || request.ranking() == SearchRequest.RankingMode.RETRIEVAL
        || !knowledge.settings(userId).personalization()) {
      return UserContext.NOBODY;
    }
    Set<Mode> modes =
        request.personalization() == Personalization.HISTORY
            ? EnumSet.of(Mode.FAMILIAR, Mode.LAPSED)
            : EnumSet.allOf(Mode.class);
    SelectionContext context = new SelectionContext(request.query(), null, List.of(), now);
    List<SelectedEntity> selected =
        properties.memory() == 0 ? List.of() : knowledge.select(userId, context, modes, properties.memory());
    return new UserContext(userId, selected);
  }

  /** Overlap of the user's entities with those of the candidates. */
  Overlap overlap(UserContext user, List<Document> candidates, Instant now) {
    if (user.userId() == null) {
      return Overlap.none(candidates.size());
    }
    List<Set<String>> entities = candidates.stream().map(documentEntities::of).toList();
    Set<String> all = new HashSet<>();
    entities.forEach(all::addAll);
    Map<String, Double> interests = new HashMap<>(knowledge.interests(user.userId(), all, now));
    for (SelectedEntity entity : user.selected()) {
      if (entity.mode() == Mode.UNFAMILIAR) {
        interests.putIfAbsent(entity.entityId(), UNFAMILIAR_INTEREST * entity.relevance());
      }
    }
    return new Overlap(Affinity.contributions(entities, interests));
  }

  /** Reasons for the hits of one page, in their order. */
  List<List<Why>> reasons(UserContext user, List<Map<String, Double>> contributions, Instant now) {
    String userId = user.userId();
    if (userId == null) {
      return contributions.stream().map(c -> List.<Why>of()).toList();
    }
    List<List<String>> shown =
        contributions.stream()
            .map(c -> c.entrySet().stream()
                .filter(e -> e.getValue() >= LEAST_CONTRIBUTION)
                .limit(MOST_REASONS)
                .map(Map.Entry::getKey)
                .toList())
            .toList();
    Set<String> ids = shown.stream().flatMap(List::stream).collect(Collectors.toSet());
    Map<String, Why> whys = whys(userId, user.selected(), ids, now);
    return shown.stream().map(page -> page.stream().map(whys::get).filter(Objects::nonNull).toList()).toList();
  }

  private Map<String, Why> whys(String userId, List<SelectedEntity> selected, Set<String> ids, Instant now) {
    Map<String, SelectedEntity> known =
        selected.stream().collect(Collectors.toMap(SelectedEntity::entityId, Function.identity(), (a, b) -> a));
    Map<String, List<String>> events = new HashMap<>();
    for (String id : ids) {
      SelectedEntity entity = known.get(id);
      List<String> own = entity == null ? knowledge.eventIds(userId, id, MOST_EVENTS) : entity.eventIds();
      events.put(id, own.size() > MOST_EVENTS ? own.subList(0, MOST_EVENTS) : own);
    }
    Map<String, Entity> entities = knowledgeBase.findAll(ids);
    Map<String, Instant> times = times(events.values().stream().flatMap(List::stream).distinct().toList());
    Map<String, Why> whys = new HashMap<>();
    for (String id : ids) {
      List<String> own = events.getOrDefault(id, List.of());
      SelectedEntity entity = known.get(id);
      Entity named = entities.get(id);
      String label = entity != null ? entity.label() : named != null ? named.label() : null;
      if (label == null || own.isEmpty()) {
        // Forgotten or erased in the meantime: nothing to point at.
        continue;
      }
      Mode mode = entity != null ? entity.mode() : modeOf(own, times, now);
      whys.put(id, new Why(id, label, mode, List.copyOf(own)));
    }
    return whys;
  }

  private static Mode modeOf(List<String> events, Map<String, Instant> times, Instant now) {
    Instant last =
        events.stream().map(times::get).filter(Objects::nonNull).max(Instant::compareTo).orElse(now);
    return last.isBefore(now.minus(LAPSE)) ? Mode.LAPSED : Mode.FAMILIAR;
  }

  private Map<String, Instant> times(List<String> ids) {
    return Stream.concat(
            searchLog.queries(ids).stream().map(q -> Map.entry(q.queryId(), q.timestamp())),
            searchLog.events(ids).stream().map(e -> Map.entry(e.eventId(), e.timestamp())))
        .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a));
  }
}
