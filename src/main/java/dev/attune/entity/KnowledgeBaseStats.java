package dev.attune.entity;

import java.util.Map;

/**
 * Size of the knowledge base.
 *
 * @param aliases names beside the labels; those of replaced rows count until the next merge
 * @param neighbours relations, counted on the side that states them; as with aliases
 * @param byType entities by type
 * @param bySource entities by source, for example {@code wikidata} or {@code documents}
 * @param overrides corrections of the linker
 * @param segments parts of the in-memory form
 * @param bytes heap of the in-memory form
 */
public record KnowledgeBaseStats(
    int entities,
    long aliases,
    long neighbours,
    Map<String, Integer> byType,
    Map<String, Integer> bySource,
    int overrides,
    int segments,
    long bytes) {

  public KnowledgeBaseStats {
    byType = Map.copyOf(byType);
    bySource = Map.copyOf(bySource);
  }
}
