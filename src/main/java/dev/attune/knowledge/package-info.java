/**
 * The entity-centric knowledge store of every user: what they looked for, how often, when, and which log events
 * say so.
 */
@ApplicationModule(displayName = "Knowledge stores", allowedDependencies = {"entity", "searchlog", "retrieval", "web"})
@NullMarked
package dev.attune.knowledge;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
