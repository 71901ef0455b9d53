package dev.attune.security;

import dev.attune.web.ProblemWriter;
import io.github.bucket4j.Bucket;
import io.github.bucket4j.ConsumptionProbe;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.security.authentication.AnonymousAuthenticationToken;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.context.SecurityContextHolder;
import org.springframework.web.filter.OncePerRequestFilter;

/**
 * A token bucket for each principal, or for each client address where nobody is logged in. A request of the API beyond
 * it is answered 429 with {@code Retry-After} in seconds (RFC 6585); pages and health are not limited.
 */
final class RateLimitFilter extends OncePerRequestFilter {

  private final SecurityProperties.RateLimit limit;
  private final ProblemWriter problems;

  /** The most recently seen; one that was forgotten begins with a full bucket. */
  private final Map<String, Bucket> buckets =
      new LinkedHashMap<>(64, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Bucket> eldest) {
          return size() > limit.principals();
        }
      };

  RateLimitFilter(SecurityProperties.RateLimit limit, ProblemWriter problems) {
    this.limit = limit;
    this.problems = problems;
  }

  @Override
  protected boolean shouldNotFilter(HttpServletRequest request) {
    String path = request.getRequestURI();
    return limit.perSecond() == 0 || !(path.startsWith("/api/") || path.startsWith("/v1/"));
  }

  @Override
  protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    ConsumptionProbe probe = bucket(principal(request)).tryConsumeAndReturnRemaining(1);
    if (probe.isConsumed()) {
      chain.doFilter(request, response);
      return;
    }
    long seconds = Math.max(1, Math.ceilDiv(probe.getNanosToWaitForRefill(), 1_000_000_000L));
    response.setHeader(HttpHeaders.RETRY_AFTER, Long.toString(seconds));
    problems.write(
        response,
        HttpStatus.TOO_MANY_REQUESTS,
        "More than %d requests a second; try again in %d s (attune.security.rate-limit)."
            .formatted(limit.perSecond(), seconds));
  }

  /** Prefixed, so that nobody's name is somebody's address. */
  private static String principal(HttpServletRequest request) {
    Authentication authentication = SecurityContextHolder.getContext().getAuthentication();
    boolean known = authentication != null && !(authentication instanceof AnonymousAuthenticationToken);
    return known ? "name " + authentication.getName() : "address " + request.getRemoteAddr();
  }

  private Bucket bucket(String principal) {
    synchronized (buckets) {
      return buckets.computeIfAbsent(
          principal,
          added ->
              Bucket.builder()
                  .addLimit(
                      bandwidth ->
                          bandwidth.capacity(limit.burst()).refillGreedy(limit.perSecond(), Duration.ofSeconds(1)))
                  .build());
    }
  }
}
