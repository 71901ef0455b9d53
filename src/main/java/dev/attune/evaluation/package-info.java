/**
 * Metrics with the definitions of trec_eval, dataset readers, and the evaluation and benchmark commands.
 */
@ApplicationModule(
    displayName = "Evaluation",
    allowedDependencies = {
        "search", "retrieval", "ranking", "suggestion", "knowledge", "entity", "searchlog", "llm", "llm :: kv",
        "datadir", "demo"
    })
@NullMarked
package dev.attune.evaluation;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
