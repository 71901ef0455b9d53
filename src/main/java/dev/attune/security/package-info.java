/**
 * Local mode, OIDC resource server, scopes, rate limits, security headers.
 */
@ApplicationModule(displayName = "Security", allowedDependencies = {"web"})
@NullMarked
package dev.attune.security;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
