package dev.attune.entity;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.lucene.util.fst.FST;
import org.jspecify.annotations.Nullable;

/**
 * An immutable part of the knowledge base: columns over rows (entities, sorted by id) and a finite state transducer
 * from normalised names to candidate rows. {@link KnowledgeSnapshot} puts segments together; {@link SegmentBuilder}
 * makes them.
 *
 * <p>Ids of entities and of neighbours share one sorted table, so that a neighbour is one {@code int}; {@code rowOf}
 * is -1 for ids that are no row of this segment.
 */
final class KnowledgeSegment {

  private static final int ROW_BITS = 29;

  /** Columns by row, except where noted. */
  record Columns(
      StringTable ids,
      int[] rowOf,
      int[] idOf,
      StringTable labels,
      StringTable descriptions,
      String[] typeNames,
      short[] types,
      String[] sourceNames,
      short[] sources,
      float[] priors,
      int[] aliasOffsets,
      StringTable aliases,
      int[] neighbourOffsets,
      int[] neighbours,
      String[] relationNames,
      short[] relations,
      int[] redirects,
      int[] incomingOffsets,
      int[] incoming,
      StringTable nameKeys,
      int[] rowsByNameKey) {}

  private final Columns columns;
  private final @Nullable FST<Long> names;
  private final int[] candidateOffsets;
  private final int[] candidates;

  KnowledgeSegment(Columns columns, @Nullable FST<Long> names, int[] candidateOffsets, int[] candidates) {
    this.columns = columns;
    this.names = names;
    this.candidateOffsets = candidateOffsets;
    this.candidates = candidates;
  }

  Columns columns() {
    return columns;
  }

  int[] candidateOffsets() {
    return candidateOffsets;
  }

  int[] candidates() {
    return candidates;
  }

  int size() {
    return columns.idOf.length;
  }

  /** Row of an entity, or -1. */
  int row(String id) {
    int index = columns.ids.search(id);
    return index < 0 ? -1 : columns.rowOf[index];
  }

  String id(int row) {
    return columns.ids.get(columns.idOf[row]);
  }

  String label(int row) {
    return columns.labels.get(row);
  }

  String description(int row) {
    return columns.descriptions.get(row);
  }

  String type(int row) {
    return columns.typeNames[columns.types[row]];
  }

  String source(int row) {
    return columns.sourceNames[columns.sources[row]];
  }

  double prior(int row) {
    return columns.priors[row];
  }

  boolean redirects(int row) {
    return columns.redirects[row] >= 0;
  }

  @Nullable String redirect(int row) {
    return columns.redirects[row] < 0 ? null : columns.ids.get(columns.redirects[row]);
  }

  int neighbourCount(int row) {
    return columns.neighbourOffsets[row + 1] - columns.neighbourOffsets[row];
  }

  String neighbourId(int row, int rank) {
    return columns.ids.get(columns.neighbours[columns.neighbourOffsets[row] + rank]);
  }

  String relation(int row, int rank) {
    return columns.relationNames[columns.relations[columns.neighbourOffsets[row] + rank]];
  }

  /** Rows whose neighbours name the id, or that redirect to it; the id need not be a row here. */
  int[] incoming(String id) {
    int index = columns.ids.search(id);
    if (index < 0) {
      return new int[0];
    }
    int from = columns.incomingOffsets[index];
    int to = columns.incomingOffsets[index + 1];
    return Arrays.copyOfRange(columns.incoming, from, to);
  }

  int incomingCount(String id) {
    int index = columns.ids.search(id);
    return index < 0 ? 0 : columns.incomingOffsets[index + 1] - columns.incomingOffsets[index];
  }

  /** Place of an id in the id table, for {@link #rankOf}; negative if no row or neighbour has it. */
  int idIndex(String id) {
    return columns.ids.search(id);
  }

  /** Rank of an id among the neighbours of the row, or -1. */
  int rankOf(int row, int idIndex) {
    for (int i = columns.neighbourOffsets[row]; i < columns.neighbourOffsets[row + 1]; i++) {
      if (columns.neighbours[i] == idIndex) {
        return i - columns.neighbourOffsets[row];
      }
    }
    return -1;
  }

  int aliasCount() {
    return columns.aliases.size();
  }

  int neighbourCount() {
    return columns.neighbours.length;
  }

  KnowledgeRow read(int row) {
    List<String> aliases = new ArrayList<>();
    for (int i = columns.aliasOffsets[row]; i < columns.aliasOffsets[row + 1]; i++) {
      aliases.add(columns.aliases.get(i));
    }
    List<Entity.Neighbour> neighbours = new ArrayList<>();
    for (int rank = 0; rank < neighbourCount(row); rank++) {
      neighbours.add(new Entity.Neighbour(neighbourId(row, rank), relation(row, rank)));
    }
    String description = description(row);
    Entity entity = new Entity(id(row), label(row), aliases, type(row), description.isEmpty() ? null : description,
        prior(row), neighbours);
    return new KnowledgeRow(entity, source(row), redirect(row));
  }

  /** First position in the order of name keys that is not before the key. */
  int firstNameKey(String key) {
    int index = columns.nameKeys.search(key);
    if (index < 0) {
      return -(index + 1);
    }
    while (index > 0 && columns.nameKeys.get(index - 1).equals(key)) {
      index--;
    }
    return index;
  }

  boolean nameKeyStartsWith(int position, String prefix) {
    return position < columns.nameKeys.size() && columns.nameKeys.startsWith(position, prefix);
  }

  boolean nameKeyEquals(int position, String key) {
    return position < columns.nameKeys.size() && columns.nameKeys.get(position).equals(key);
  }

  int rowByNameKey(int position) {
    return columns.rowsByNameKey[position];
  }

  @Nullable FST<Long> names() {
    return names;
  }

  /**
   * Rows that a name may mean with the kind of the name, as {@link #row(int)} and {@link #kind(int)} read them: by
   * kind, most common first.
   */
  int[] candidates(int name) {
    return Arrays.copyOfRange(candidates, candidateOffsets[name], candidateOffsets[name + 1]);
  }

  static int candidate(int row, NameKind kind) {
    return row | kind.ordinal() << ROW_BITS;
  }

  static int row(int candidate) {
    return candidate & (1 << ROW_BITS) - 1;
  }

  static NameKind kind(int candidate) {
    return NameKind.of(candidate >>> ROW_BITS);
  }

  long ramBytes() {
    Columns c = columns;
    long tables = c.ids.ramBytes() + c.labels.ramBytes() + c.descriptions.ramBytes() + c.aliases.ramBytes()
        + c.nameKeys.ramBytes();
    long ints = (long) c.rowOf.length + c.idOf.length + c.aliasOffsets.length + c.neighbourOffsets.length
        + c.neighbours.length + c.redirects.length + c.incomingOffsets.length + c.incoming.length
        + c.rowsByNameKey.length + candidateOffsets.length + candidates.length + c.priors.length;
    long shorts = (long) c.types.length + c.sources.length + c.relations.length;
    return tables + 4 * ints + 2 * shorts + (names == null ? 0 : names.ramBytesUsed());
  }
}
