/**
 * Loads the movie corpus and the simulated users into an empty store on the first start.
 */
@ApplicationModule(
    displayName = "Demo data",
    allowedDependencies = {"retrieval", "searchlog", "entity", "knowledge", "datadir"})
@NullMarked
package dev.attune.demo;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
