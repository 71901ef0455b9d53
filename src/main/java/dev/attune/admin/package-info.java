/**
 * Views over the fleet of user stores and over single users, jobs, models and quality.
 */
@ApplicationModule(
    displayName = "Administration",
    allowedDependencies = {
        "search", "retrieval", "ranking", "suggestion", "knowledge", "entity", "searchlog", "llm", "web",
        "datadir", "demo"
    })
@NullMarked
package dev.attune.admin;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
