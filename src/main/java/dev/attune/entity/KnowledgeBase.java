package dev.attune.entity;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * All entities, durable in the database and held in memory for look-up. Thread-safe. They are brought into memory in
 * the background when the service starts; until then look-ups find nothing, and changes wait.
 */
public interface KnowledgeBase {

  /** Whether everything is in memory. */
  boolean loaded();

  /**
   * Waits until everything is in memory, for work whose outcome is kept.
   *
   * @throws java.util.concurrent.CancellationException when interrupted
   */
  void awaitLoaded();

  Optional<Entity> find(String id);

  /** Returns the entities that exist among the given ids. */
  Map<String, Entity> findAll(Collection<String> ids);

  /** Entities related to the given one, in both directions, strongest first. */
  List<Entity.Neighbour> neighbours(String id);

  /**
   * Id under which an entity is known now. An entity that documents name and that turned out to be a curated one is
   * found by both ids; unknown ids are answered as they are.
   */
  String canonicalId(String id);

  /** The neighbours that the entity states itself, without those that state it; cheaper than {@link #neighbours}. */
  Collection<String> statedNeighbours(String id);

  /** Changes with every change of the knowledge base in this process. */
  long version();

  /** How many relations an entity has at most, both directions; high for hubs such as genres. */
  int degree(String id);

  /**
   * What the fields of an indexed document name, with the field as relation: first the document's own entity (relation
   * {@code title}), then the others in the order of {@code attune.entity.document-fields}. Empty if unknown.
   */
  List<Entity.Neighbour> ofDocument(String documentId);

  /** Entities whose label starts with the prefix (case and accents ignored), most common first. */
  List<Entity> complete(String prefix, int limit);

  /**
   * Adds or replaces entities by id; visible to the linker when the call returns.
   *
   * @param source where they come from, for example {@code wikidata} or {@code documents}
   * @return how many were written
   */
  int importAll(String source, Stream<Entity> entities);

  /**
   * Removes an entity that was imported; the linker does not know it when the call returns. Entities that follow from
   * documents stay: they go with their documents.
   *
   * @return false if none with this id was imported
   */
  boolean removeImported(String id);

  /** Removes all entities that were imported from a source, as {@link #removeImported}; returns how many. */
  int removeSource(String source);

  /** Number of entities. */
  int size();

  KnowledgeBaseStats stats();
}
