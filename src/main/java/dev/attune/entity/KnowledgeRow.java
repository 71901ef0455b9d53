package dev.attune.entity;

import org.jspecify.annotations.Nullable;

/**
 * An entity as the in-memory knowledge base holds it.
 *
 * @param source where it comes from; {@link #DOCUMENTS} for entities derived from document fields
 * @param redirect id of the entity that this one turned out to be; the linker then finds only that one, and look-ups
 *     by this id answer it, while the neighbours stay here
 */
record KnowledgeRow(Entity entity, String source, @Nullable String redirect) {

  static final String DOCUMENTS = "documents";

  String id() {
    return entity.id();
  }

  boolean fromDocuments() {
    return source.equals(DOCUMENTS);
  }
}
