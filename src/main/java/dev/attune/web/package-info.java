/**
 * What every REST resource shares: RFC 9457 problems, NDJSON request bodies, pages of lists, the single-page
 * application.
 */
@ApplicationModule(displayName = "Web conventions", allowedDependencies = {})
@NullMarked
package dev.attune.web;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
