/**
 * BlockRank: prompt blocks, attention scores, the document KV store, affinity fusion and the rerank resource.
 */
@ApplicationModule(
    displayName = "In-context ranking",
    allowedDependencies = {"background", "llm", "llm :: kv", "retrieval", "knowledge", "entity", "web", "datadir"})
@NullMarked
package dev.attune.ranking;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
