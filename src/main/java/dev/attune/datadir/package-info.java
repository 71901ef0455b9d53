/**
 * The one directory that the service writes to. Everything that outlives a process (PostgreSQL, Lucene,
 * document KV segments) lives under {@link dev.attune.datadir.DataDirectory}.
 */
@ApplicationModule(displayName = "Data directory", allowedDependencies = {})
@NullMarked
package dev.attune.datadir;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
