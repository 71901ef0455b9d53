/**
 * The knowledge base (entities, aliases, types, neighbours, priors) and the entity linker.
 */
@ApplicationModule(displayName = "Entities", allowedDependencies = {"web"})
@NullMarked
package dev.attune.entity;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
