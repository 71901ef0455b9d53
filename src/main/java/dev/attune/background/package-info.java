/**
 * Work that nobody waits for: when it may run ({@link dev.attune.background.ForegroundTraffic}) and on which threads
 * ({@link dev.attune.background.BackgroundThread}).
 */
@ApplicationModule(displayName = "Background work", allowedDependencies = {})
@NullMarked
package dev.attune.background;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
