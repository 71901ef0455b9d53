/**
 * User Behavior Insights 1.3: parsing, validation, identity, sessions and idempotent storage of queries and
 * events.
 */
@ApplicationModule(displayName = "Search logs", allowedDependencies = {"entity", "web"})
@NullMarked
package dev.attune.searchlog;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
