package dev.attune.entity;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** All entities, durable in the database and held in memory for look-up. Thread-safe. */
public interface KnowledgeBase {

  Optional<Entity> find(String id);

  /** Returns the entities that exist among the given ids. */
  Map<String, Entity> findAll(Collection<String> ids);

  /** Entities related to the given one, in both directions, strongest first. */
  List<Entity.Neighbour> neighbours(String id);

  /** Entities whose label starts with the prefix (case and accents ignored), most common first. */
  List<Entity> complete(String prefix, int limit);

  /**
   * Adds or replaces entities by id; visible to the linker when the call returns.
   *
   * @param source where they come from, for example {@code wikidata} or {@code documents}
   * @return how many were written
   */
  int importAll(String source, Stream<Entity> entities);

  /** Number of entities. */
  int size();
}
