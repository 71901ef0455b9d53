/**
 * The request pipeline: retrieve, rank, explain, within a latency budget, degrading rather than failing.
 */
@ApplicationModule(
    displayName = "Search",
    allowedDependencies = {
        "background", "retrieval", "ranking", "suggestion", "knowledge", "entity", "searchlog", "llm", "web"
    })
@NullMarked
package dev.attune.search;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
