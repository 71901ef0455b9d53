/**
 * The knowledge base (entities, aliases, types, neighbours, priors) and the entity linker.
 *
 * <p>{@link dev.attune.entity.KnowledgeBase} looks up, {@link dev.attune.entity.EntityLinker} links texts,
 * {@link dev.attune.entity.KnowledgeImport} reads NDJSON, {@link dev.attune.entity.LinkerOverrides} corrects. Entities
 * come from imports and from the fields of indexed documents. In the database they are rows ({@code EntityStore},
 * {@code DocumentEntityStore}); in memory a {@code KnowledgeSnapshot} of {@code KnowledgeSegment}s that readers see as
 * one state.
 */
@ApplicationModule(displayName = "Entities", allowedDependencies = {"datadir", "retrieval", "web"})
@NullMarked
package dev.attune.entity;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
