/**
 * Starts an embedded, real PostgreSQL when no <code>spring.datasource.url</code> is set, and stops it with the
 * service.
 */
@ApplicationModule(displayName = "Database", allowedDependencies = {"datadir"})
@NullMarked
package dev.attune.database;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
