package dev.attune.knowledge;

import dev.attune.entity.Entity;
import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Service;

/** Reads the stores, and selects by the modes of K-LaMP (arXiv 2311.06318, §3). */
@Service
class StoredUserKnowledge implements UserKnowledge {

  private static final double MIN_RELEVANCE = 0.05;
  private static final double STEP = 0.6;
  /** Own entities whose neighbourhood is looked at for what is unfamiliar. */
  private static final int ANCHORS = 12;
  private static final int EVENTS = 5;

  private final KnowledgeBase knowledge;
  private final EntityLinker linker;
  private final EvidenceStore evidence;
  private final UserPolicyStore policies;
  private final StoreViews views;
  private final KnowledgeProperties properties;

  StoredUserKnowledge(KnowledgeBase knowledge, EntityLinker linker, EvidenceStore evidence, UserPolicyStore policies,
      StoreViews views, KnowledgeProperties properties) {
    this.knowledge = knowledge;
    this.linker = linker;
    this.evidence = evidence;
    this.policies = policies;
    this.views = views;
    this.properties = properties;
  }

  StoreView view(String userId) {
    return policies.state(userId).map(state -> views.view(userId, state.version())).orElse(StoreView.EMPTY);
  }

  Mode mode(StoreView.Known known, Instant now) {
    if (!known.lastSeen().isAfter(now.minus(properties.lapsedAfter()))) {
      return Mode.LAPSED;
    }
    return known.count() >= properties.familiarCount() ? Mode.FAMILIAR : Mode.UNFAMILIAR;
  }

  private record Scored(
      String entityId, Mode mode, double relevance, double score, StoreView.@Nullable Known known,
      StoreView.@Nullable Known via) {}

  @Override
  public List<SelectedEntity> select(String userId, SelectionContext context, Set<Mode> modes, int k) {
    Optional<UserPolicyStore.State> state = policies.state(userId);
    if (k <= 0 || modes.isEmpty() || state.isEmpty() || !state.get().settings().personalization()) {
      return List.of();
    }
    StoreView store = views.view(userId, state.get().version());
    if (store.isEmpty()) {
      return List.of();
    }
    ContextRelevance relevance = ContextRelevance.of(context, store, knowledge, linker,
        ids -> evidence.metTogether(userId, ids));
    List<StoreView.Known> relevant = relevance.relevant(store, MIN_RELEVANCE);
    Map<String, Scored> scored = new HashMap<>();
    for (StoreView.Known known : relevant) {
      Scored candidate = own(known, relevance.of(known.entityId()), store, context.now());
      if (modes.contains(candidate.mode())) {
        scored.put(known.entityId(), candidate);
      }
    }
    if (modes.contains(Mode.UNFAMILIAR)) {
      Set<String> hidden = hiddenEntities(userId);
      unfamiliar(relevant, relevance, store, context.now()).forEach((id, candidate) -> {
        if (!hidden.contains(id)) {
          scored.putIfAbsent(id, candidate);
        }
      });
    }
    List<Scored> ordered = scored.values().stream()
        .sorted(Comparator.comparingDouble((Scored candidate) -> -candidate.score())
            .thenComparing(Scored::entityId))
        .toList();
    return describe(userId, ordered, state.get().settings(), k);
  }

  private Scored own(StoreView.Known known, double relevance, StoreView store, Instant now) {
    Mode mode = mode(known, now);
    double score = relevance * switch (mode) {
      case FAMILIAR -> Math.log1p(known.count()) / Math.log1p(store.largestCount());
      case UNFAMILIAR -> 1.0 / (known.count() + 1);
      case LAPSED -> {
        double away = Duration.between(known.lastSeen(), now).toMillis();
        yield away / (away + properties.lapsedAfter().toMillis());
      }
    };
    return new Scored(known.entityId(), mode, relevance, score, known, null);
  }

  /** What the user never met, next to relevant entities that they did meet. */
  private Map<String, Scored> unfamiliar(List<StoreView.Known> relevant, ContextRelevance relevance, StoreView store,
      Instant now) {
    Map<String, Scored> found = new HashMap<>();
    relevant.stream()
        .sorted(Comparator.comparingDouble((StoreView.Known known) -> -anchorStrength(known, relevance, store, now))
            .thenComparing(StoreView.Known::entityId))
        .limit(ANCHORS)
        .forEach(anchor -> {
          double weight = relevance.of(anchor.entityId()) * STEP * relevance.focus(anchor.entityId());
          int rank = 0;
          for (Entity.Neighbour neighbour : knowledge.neighbours(anchor.entityId())) {
            double value = Math.max(weight / (1 + 0.03 * rank), relevance.of(neighbour.id()));
            rank++;
            if (value >= MIN_RELEVANCE && !store.has(neighbour.id()) && !relevance.named().contains(neighbour.id())) {
              found.merge(neighbour.id(), new Scored(neighbour.id(), Mode.UNFAMILIAR, Math.min(1, value), value, null,
                  anchor), (a, b) -> b.score() > a.score() ? b : a);
            }
          }
        });
    return found;
  }

  private double anchorStrength(StoreView.Known known, ContextRelevance relevance, StoreView store, Instant now) {
    return own(known, relevance.of(known.entityId()), store, now).relevance() * Math.log1p(known.count());
  }

  private Set<String> hiddenEntities(String userId) {
    LearningPolicy policy = policies.policies(List.of(userId)).get(userId);
    Set<String> hidden = new HashSet<>();
    if (policy != null) {
      policy.forgottenUntil().keySet().stream().filter(policy::forgets)
          .forEach(id -> hidden.add(knowledge.canonicalId(id)));
    }
    return hidden;
  }

  private List<SelectedEntity> describe(String userId, List<Scored> ordered, UserSettings settings, int k) {
    List<SelectedEntity> selected = new ArrayList<>();
    for (Scored candidate : ordered) {
      Entity entity = selected.size() < k ? knowledge.find(candidate.entityId()).orElse(null) : null;
      if (entity == null || properties.sensitiveTypes().contains(entity.type())
          && !settings.sensitive().contains(entity.type())) {
        continue;
      }
      StoreView.Known source = candidate.known() != null ? candidate.known() : candidate.via();
      List<String> events = source == null ? List.of() : events(userId, source, EVENTS);
      StoreView.Known known = candidate.known();
      StoreView.Known via = candidate.via();
      selected.add(new SelectedEntity(candidate.entityId(), entity.label(), entity.type(), candidate.mode(),
          candidate.relevance(), known == null ? 0 : known.count(), known == null ? null : known.lastSeen(),
          via == null ? null : via.entityId(), events));
    }
    return selected;
  }

  private List<String> events(String userId, StoreView.Known known, int limit) {
    return evidence.references(userId, known.storedIds(), 0, limit).stream()
        .map(EvidenceStore.Reference::eventId).toList();
  }

  @Override
  public Map<String, Double> interests(String userId, Collection<String> entityIds, Instant now) {
    Optional<UserPolicyStore.State> state = policies.state(userId);
    if (state.isEmpty() || !state.get().settings().personalization()) {
      return Map.of();
    }
    StoreView store = views.view(userId, state.get().version());
    Map<String, Double> interests = new HashMap<>();
    for (String id : entityIds) {
      StoreView.Known known = store.find(knowledge.canonicalId(id));
      double interest = known == null ? 0 : store.interest(known, now);
      if (interest > 0) {
        interests.put(id, interest);
      }
    }
    return interests;
  }

  @Override
  public List<String> eventIds(String userId, String entityId, int limit) {
    StoreView.Known known = view(userId).find(knowledge.canonicalId(entityId));
    return known == null ? List.of() : events(userId, known, limit);
  }

  @Override
  public UserSettings settings(String userId) {
    return policies.state(userId).map(UserPolicyStore.State::settings).orElse(UserSettings.DEFAULT);
  }

  @Override
  public Set<String> sensitiveTypes() {
    return properties.sensitiveTypes();
  }
}
