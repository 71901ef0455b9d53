package dev.attune.security;

import org.jspecify.annotations.Nullable;
import org.springframework.security.core.Authentication;

/** The scopes of a token, as Spring Security names them. */
final class Scopes {

  static final String SEARCH = "SCOPE_attune:search";
  static final String INGEST = "SCOPE_attune:ingest";
  static final String ADMIN = "SCOPE_attune:admin";

  private Scopes() {}

  /** An administrator may act for everybody, a searcher for the user that the token's {@code sub} names. */
  static boolean mayActFor(@Nullable Authentication authentication, @Nullable String userId) {
    if (authentication == null || !authentication.isAuthenticated()) {
      return false;
    }
    return has(authentication, ADMIN) || has(authentication, SEARCH) && authentication.getName().equals(userId);
  }

  static boolean has(Authentication authentication, String scope) {
    return authentication.getAuthorities().stream().anyMatch(granted -> scope.equals(granted.getAuthority()));
  }
}
