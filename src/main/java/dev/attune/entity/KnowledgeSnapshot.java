package dev.attune.entity;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.lucene.util.FixedBitSet;
import org.jspecify.annotations.Nullable;

/**
 * One consistent, immutable state of the knowledge base: segments whose sizes fall geometrically (as in an LSM tree,
 * so that a small import costs little), the rows that newer segments replaced, and the overrides of the linker.
 */
final class KnowledgeSnapshot {

  /** Smaller segments are always merged. */
  private static final int SMALL = 2_000;

  /** A segment, and which of its rows no longer count. */
  record Part(KnowledgeSegment segment, @Nullable FixedBitSet dead) {
    boolean live(int row) {
      return dead == null || !dead.get(row);
    }

    int liveCount() {
      return segment.size() - (dead == null ? 0 : dead.cardinality());
    }
  }

  /** A row in a part. */
  record Found(Part part, int row) {
    String id() {
      return part.segment().id(row);
    }

    double prior() {
      return part.segment().prior(row);
    }
  }

  /** An entity that a name may mean, whatever the knowledge base says; empty when the name is never to be linked. */
  private final Map<String, Optional<String>> overrides;

  private final List<Part> parts;
  private final SegmentBuilder builder;

  private KnowledgeSnapshot(List<Part> parts, Map<String, Optional<String>> overrides, SegmentBuilder builder) {
    this.parts = List.copyOf(parts);
    this.overrides = Map.copyOf(overrides);
    this.builder = builder;
  }

  static KnowledgeSnapshot of(List<Part> parts, Map<String, Optional<String>> overrides, SegmentBuilder builder) {
    return new KnowledgeSnapshot(parts, overrides, builder);
  }

  static KnowledgeSnapshot empty(SegmentBuilder builder) {
    return new KnowledgeSnapshot(List.of(), Map.of(), builder);
  }

  /** Returns the state after adding or replacing rows and deleting others. */
  KnowledgeSnapshot with(Collection<KnowledgeRow> put, Collection<String> deleted) {
    Set<String> gone = new HashSet<>(deleted);
    put.forEach(row -> gone.add(row.id()));
    List<Part> kept = new ArrayList<>();
    for (Part part : parts) {
      Part remaining = without(part, gone);
      if (remaining.liveCount() > 0) {
        kept.add(remaining != part && tenthDead(remaining)
            ? new Part(builder.build(rowsOf(remaining)), null) : remaining);
      }
    }
    List<KnowledgeRow> rows = new ArrayList<>(put);
    int size = rows.size();
    while (!kept.isEmpty() && (kept.getLast().liveCount() <= 2 * size || kept.getLast().liveCount() <= SMALL)
        && size > 0) {
      Part merged = kept.removeLast();
      List<KnowledgeRow> older = rowsOf(merged);
      size += older.size();
      older.addAll(rows);
      rows = older;
    }
    if (!rows.isEmpty()) {
      kept.add(new Part(builder.build(rows), null));
    }
    return new KnowledgeSnapshot(kept, overrides, builder);
  }

  KnowledgeSnapshot withOverrides(Map<String, Optional<String>> replaced) {
    return new KnowledgeSnapshot(parts, replaced, builder);
  }

  /** Names, relations and memory of dead rows stay until their part is built anew. */
  private static boolean tenthDead(Part part) {
    return 10L * part.liveCount() < 9L * part.segment().size();
  }

  private static Part without(Part part, Set<String> gone) {
    @Nullable FixedBitSet dead = part.dead();
    boolean copied = false;
    for (String id : gone) {
      int row = part.segment().row(id);
      if (row >= 0 && part.live(row)) {
        if (!copied) {
          dead = dead == null ? new FixedBitSet(part.segment().size()) : dead.clone();
          copied = true;
        }
        dead.set(row);
      }
    }
    return copied ? new Part(part.segment(), dead) : part;
  }

  private static List<KnowledgeRow> rowsOf(Part part) {
    List<KnowledgeRow> rows = new ArrayList<>();
    for (int row = 0; row < part.segment().size(); row++) {
      if (part.live(row)) {
        rows.add(part.segment().read(row));
      }
    }
    return rows;
  }

  List<Part> parts() {
    return parts;
  }

  Map<String, Optional<String>> overrides() {
    return overrides;
  }

  /** The row of an id itself, redirects not followed. */
  @Nullable Found locate(String id) {
    for (Part part : parts) {
      int row = part.segment().row(id);
      if (row >= 0 && part.live(row)) {
        return new Found(part, row);
      }
    }
    return null;
  }

  /** The id under which an entity is known: that of the entity it turned out to be, or its own. */
  String canonical(String id) {
    Found found = locate(id);
    String redirect = found == null ? null : found.part().segment().redirect(found.row());
    return redirect == null ? id : redirect;
  }

  /** The entity of an id, redirects followed. */
  @Nullable Found resolve(String id) {
    Found found = locate(id);
    if (found == null) {
      return null;
    }
    String redirect = found.part().segment().redirect(found.row());
    return redirect == null ? found : locate(redirect);
  }

  @Nullable Entity find(String id) {
    Found found = resolve(id);
    return found == null ? null : found.part().segment().read(found.row()).entity();
  }

  /** Live rows whose label has the given key, plural kept; redirecting rows included. */
  List<KnowledgeRow> named(String nameKey) {
    List<KnowledgeRow> rows = new ArrayList<>();
    for (Part part : parts) {
      KnowledgeSegment segment = part.segment();
      for (int i = segment.firstNameKey(nameKey); segment.nameKeyEquals(i, nameKey); i++) {
        if (part.live(segment.rowByNameKey(i))) {
          rows.add(segment.read(segment.rowByNameKey(i)));
        }
      }
    }
    return rows;
  }

  /** The best {@code limit} entities whose label key starts with the prefix; most common first, then by id. */
  List<Entity> complete(String prefix, int limit) {
    String key = TextTokens.nameKey(prefix);
    Comparator<Found> order = Comparator.comparingDouble(Found::prior).reversed().thenComparing(Found::id);
    List<Found> found = new ArrayList<>();
    for (Part part : parts) {
      KnowledgeSegment segment = part.segment();
      for (int i = segment.firstNameKey(key); segment.nameKeyStartsWith(i, key); i++) {
        int row = segment.rowByNameKey(i);
        if (part.live(row) && !segment.redirects(row)) {
          found.add(new Found(part, row));
        }
      }
    }
    return found.stream().sorted(order).limit(limit)
        .map(hit -> hit.part().segment().read(hit.row()).entity()).toList();
  }

  /**
   * Related entities in both directions, strongest first: early in the list of either side counts most, then
   * commonness, then the id.
   */
  List<Entity.Neighbour> neighbours(String id, int limit) {
    String self = canonical(id);
    Map<String, Link> links = new LinkedHashMap<>();
    for (String name : namesOf(self)) {
      Found found = locate(name);
      if (found != null) {
        KnowledgeSegment segment = found.part().segment();
        for (int rank = 0; rank < segment.neighbourCount(found.row()); rank++) {
          add(links, segment.neighbourId(found.row(), rank), segment.relation(found.row(), rank), rank);
        }
      }
      for (Part part : parts) {
        KnowledgeSegment segment = part.segment();
        int index = segment.idIndex(name);
        for (int row : segment.incoming(name)) {
          int rank = part.live(row) ? segment.rankOf(row, index) : -1;
          if (rank >= 0) {
            add(links, segment.id(row), segment.relation(row, rank), rank);
          }
        }
      }
    }
    links.remove(self);
    return links.entrySet().stream()
        .sorted(Comparator.comparingDouble((Map.Entry<String, Link> link) -> -link.getValue().strength)
            .thenComparingDouble(link -> -link.getValue().prior)
            .thenComparing(Map.Entry::getKey))
        .limit(limit)
        .map(link -> new Entity.Neighbour(link.getKey(), link.getValue().relation))
        .toList();
  }

  private record Link(String relation, double strength, double prior) {}

  private void add(Map<String, Link> links, String id, String relation, int rank) {
    Found target = resolve(id);
    if (target != null) {
      double strength = 1.0 / (2 + rank);
      links.merge(target.id(), new Link(relation, strength, target.prior()),
          (a, b) -> new Link(a.relation, a.strength + b.strength, a.prior));
    }
  }

  /** The entity's id and the ids that redirect to it. */
  Set<String> namesOf(String canonicalId) {
    Set<String> names = new HashSet<>();
    names.add(canonicalId);
    for (Part part : parts) {
      for (int row : part.segment().incoming(canonicalId)) {
        if (part.live(row) && canonicalId.equals(part.segment().redirect(row))) {
          names.add(part.segment().id(row));
        }
      }
    }
    return names;
  }

  /** Canonical ids of the neighbours that the entity's own rows state, without the other direction. */
  Set<String> statedNeighbours(String canonicalId) {
    Set<String> stated = new HashSet<>();
    for (String name : namesOf(canonicalId)) {
      Found found = locate(name);
      for (int rank = 0; found != null && rank < found.part().segment().neighbourCount(found.row()); rank++) {
        stated.add(canonical(found.part().segment().neighbourId(found.row(), rank)));
      }
    }
    return stated;
  }

  /** Upper bound of the number of neighbours, both directions. */
  int degree(String id) {
    int degree = 0;
    for (String name : namesOf(canonical(id))) {
      Found found = locate(name);
      degree += found == null ? 0 : found.part().segment().neighbourCount(found.row());
      for (Part part : parts) {
        degree += part.segment().incomingCount(name);
      }
    }
    return degree;
  }

  /** Entities, without those that redirect to another. */
  int size() {
    int size = 0;
    for (Part part : parts) {
      for (int row = 0; row < part.segment().size(); row++) {
        if (part.live(row) && !part.segment().redirects(row)) {
          size++;
        }
      }
    }
    return size;
  }

  KnowledgeBaseStats stats() {
    Map<String, Integer> types = new HashMap<>();
    Map<String, Integer> sources = new HashMap<>();
    long aliases = 0;
    long neighbours = 0;
    long bytes = 0;
    for (Part part : parts) {
      KnowledgeSegment segment = part.segment();
      aliases += segment.aliasCount();
      neighbours += segment.neighbourCount();
      bytes += segment.ramBytes();
      for (int row = 0; row < segment.size(); row++) {
        if (part.live(row) && !segment.redirects(row)) {
          types.merge(segment.type(row), 1, Integer::sum);
          sources.merge(segment.source(row), 1, Integer::sum);
        }
      }
    }
    return new KnowledgeBaseStats(size(), aliases, neighbours, types, sources, overrides.size(), parts.size(), bytes);
  }
}
