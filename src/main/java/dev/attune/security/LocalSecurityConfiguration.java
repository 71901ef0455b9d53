package dev.attune.security;

import dev.attune.web.ProblemWriter;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.boot.web.server.autoconfigure.ServerProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.env.Environment;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.annotation.web.configurers.CsrfConfigurer;
import org.springframework.security.config.http.SessionCreationPolicy;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.access.intercept.AuthorizationFilter;
import org.springframework.security.web.header.HeaderWriterFilter;

/** Local mode: no login; who can reach the loopback interface is the user. */
@Configuration(proxyBeanMethods = false)
@ConditionalOnWebApplication
@ConditionalOnProperty(name = "attune.security.mode", havingValue = "local", matchIfMissing = true)
class LocalSecurityConfiguration {

  @Bean
  LoopbackOnly loopbackOnly(SecurityProperties properties, ServerProperties server, Environment environment) {
    return new LoopbackOnly(properties, server, environment);
  }

  @Bean
  SecurityFilterChain localSecurity(
      HttpSecurity http, SecurityProperties properties, ProblemWriter problems, LoopbackOnly checked) {
    SecurityHeaders.apply(http, properties);
    return http.authorizeHttpRequests(requests -> requests.anyRequest().permitAll())
        .addFilterAfter(new LocalRequestFilter(properties, problems), HeaderWriterFilter.class)
        .addFilterBefore(new RateLimitFilter(properties.rateLimit(), problems), AuthorizationFilter.class)
        .sessionManagement(sessions -> sessions.sessionCreationPolicy(SessionCreationPolicy.STATELESS))
        // No cookie identifies anybody; LocalRequestFilter stops cross-site requests.
        .csrf(CsrfConfigurer::disable)
        .build();
  }
}
