package dev.attune.security;

import dev.attune.web.ProblemWriter;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpMethod;
import org.springframework.security.authorization.AuthorizationDecision;
import org.springframework.security.authorization.AuthorizationManager;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.annotation.web.configurers.CsrfConfigurer;
import org.springframework.security.config.http.SessionCreationPolicy;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.access.intercept.AuthorizationFilter;
import org.springframework.security.web.access.intercept.RequestAuthorizationContext;

/**
 * OIDC mode: bearer tokens of the issuer in {@code spring.security.oauth2.resourceserver.jwt.issuer-uri}, with the
 * scopes {@code attune:search}, {@code attune:ingest} and {@code attune:admin}. Pages carry no data and are open.
 */
@Configuration(proxyBeanMethods = false)
@ConditionalOnWebApplication
@ConditionalOnProperty(name = "attune.security.mode", havingValue = "oidc")
class OidcSecurityConfiguration {

  @Bean
  SecurityFilterChain oidcSecurity(HttpSecurity http, SecurityProperties properties, ProblemWriter problems) {
    SecurityHeaders.apply(http, properties);
    return http.authorizeHttpRequests(
            requests ->
                requests
                    .requestMatchers("/actuator/health/**", "/error")
                    .permitAll()
                    .requestMatchers("/api/v1/admin/**", "/actuator/**")
                    .hasAuthority(Scopes.ADMIN)
                    .requestMatchers(HttpMethod.GET, "/api/v1/documents/**")
                    .hasAnyAuthority(Scopes.SEARCH, Scopes.INGEST, Scopes.ADMIN)
                    .requestMatchers("/api/v1/documents/**", "/api/v1/events/**")
                    .hasAnyAuthority(Scopes.INGEST, Scopes.ADMIN)
                    .requestMatchers("/api/v1/users/{userId}/**")
                    .access(ownUserOnly())
                    .requestMatchers("/api/**", "/v1/**")
                    .hasAnyAuthority(Scopes.SEARCH, Scopes.ADMIN)
                    .anyRequest()
                    .permitAll())
        .addFilterBefore(new RateLimitFilter(properties.rateLimit(), problems), AuthorizationFilter.class)
        .oauth2ResourceServer(server -> server.jwt(Customizer.withDefaults()))
        .sessionManagement(sessions -> sessions.sessionCreationPolicy(SessionCreationPolicy.STATELESS))
        // Bearer tokens are never sent by a browser on its own.
        .csrf(CsrfConfigurer::disable)
        .build();
  }

  private static AuthorizationManager<RequestAuthorizationContext> ownUserOnly() {
    return (authentication, context) ->
        new AuthorizationDecision(Scopes.mayActFor(authentication.get(), context.getVariables().get("userId")));
  }

  @Bean
  OwnUserInterceptor ownUserInterceptor() {
    return new OwnUserInterceptor();
  }
}
