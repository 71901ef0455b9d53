package dev.attune.knowledge;

import dev.attune.entity.KnowledgeBase;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** One version of a user's store in memory, by canonical entity id. Immutable. */
final class StoreView {

  static final StoreView EMPTY = new StoreView(new LinkedHashMap<>(), 0, Duration.ofDays(1));

  /**
   * An entity of the store.
   *
   * @param storedIds ids under which it was learned; more than one when the knowledge base merged entities since
   * @param interest see {@code user_entity.interest}
   */
  record Known(String entityId, List<String> storedIds, int count, Instant firstSeen, Instant lastSeen,
      List<String> sources, double interest) {

    Known and(Known other) {
      List<String> ids = new ArrayList<>(storedIds);
      ids.addAll(other.storedIds);
      TreeSet<String> allSources = new TreeSet<>(sources);
      allSources.addAll(other.sources);
      return new Known(entityId, ids, count + other.count,
          firstSeen.isBefore(other.firstSeen) ? firstSeen : other.firstSeen,
          lastSeen.isAfter(other.lastSeen) ? lastSeen : other.lastSeen, List.copyOf(allSources),
          interest + other.interest);
    }
  }

  private final Map<String, Known> entities;
  private final int largestCount;
  private final Duration halfLife;

  private StoreView(Map<String, Known> entities, int largestCount, Duration halfLife) {
    this.entities = entities;
    this.largestCount = largestCount;
    this.halfLife = halfLife;
  }

  static StoreView of(Collection<EvidenceStore.EntityRow> rows, KnowledgeBase knowledge, Duration halfLife) {
    List<EvidenceStore.EntityRow> ordered = new ArrayList<>(rows);
    ordered.sort((a, b) -> a.interest() != b.interest() ? Double.compare(b.interest(), a.interest())
        : a.entityId().compareTo(b.entityId()));
    Map<String, Known> entities = new LinkedHashMap<>();
    int largest = 0;
    for (EvidenceStore.EntityRow row : ordered) {
      String id = knowledge.canonicalId(row.entityId());
      Known known = entities.merge(id, new Known(id, List.of(row.entityId()), row.count(), row.firstSeen(),
          row.lastSeen(), row.sources().stream().sorted().toList(), row.interest()), Known::and);
      largest = Math.max(largest, known.count());
    }
    return new StoreView(entities, largest, halfLife);
  }

  boolean isEmpty() {
    return entities.isEmpty();
  }

  @Nullable Known find(String canonicalId) {
    return entities.get(canonicalId);
  }

  boolean has(String canonicalId) {
    return entities.containsKey(canonicalId);
  }

  /** Most interesting first. */
  Collection<Known> all() {
    return entities.values();
  }

  int largestCount() {
    return largestCount;
  }

  Map<String, Integer> counts() {
    Map<String, Integer> counts = new HashMap<>();
    entities.values().forEach(known -> counts.put(known.entityId(), known.count()));
    return counts;
  }

  /** Interest as it has decayed until now. */
  double interest(Known known, Instant now) {
    double halfLives = Duration.between(EvidenceStore.EPOCH, now).toMillis() / (double) halfLife.toMillis();
    return known.interest() * Math.pow(2, -halfLives);
  }
}
