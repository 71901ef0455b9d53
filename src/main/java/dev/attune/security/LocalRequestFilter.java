package dev.attune.security;

import dev.attune.web.ProblemWriter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URI;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.web.filter.OncePerRequestFilter;

/**
 * Keeps other web sites from using the browser of a person who runs the service without login: by DNS rebinding (the
 * Host header must be a known name) and by cross-site requests (Fetch Metadata, else Origin, must say same origin).
 * Programs send neither header and are let through.
 */
final class LocalRequestFilter extends OncePerRequestFilter {

  private static final Set<String> SAFE = Set.of("GET", "HEAD", "OPTIONS", "TRACE");

  private final Set<String> allowedHosts;
  private final ProblemWriter problems;

  LocalRequestFilter(SecurityProperties properties, ProblemWriter problems) {
    this.allowedHosts =
        Set.copyOf(properties.allowedHosts().stream().map(host -> host.toLowerCase(Locale.ROOT)).toList());
    this.problems = problems;
  }

  @Override
  protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    String host = request.getHeader(HttpHeaders.HOST);
    if (host == null || !allowedHosts.contains(name(host))) {
      problems.write(
          response,
          HttpStatus.FORBIDDEN,
          "This host name is not allowed; add it to attune.security.allowed-hosts if it is yours.");
    } else if (isCrossSite(request, host)) {
      problems.write(response, HttpStatus.FORBIDDEN, "Requests from other web sites are not allowed in local mode.");
    } else {
      chain.doFilter(request, response);
    }
  }

  private static boolean isCrossSite(HttpServletRequest request, String host) {
    // Opening a page from elsewhere is harmless; using the API is not, even reading: a search is logged.
    if (SAFE.contains(request.getMethod()) && !isApi(request.getRequestURI())) {
      return false;
    }
    String site = request.getHeader("Sec-Fetch-Site");
    if (site != null) {
      return !site.equals("same-origin") && !site.equals("none");
    }
    String origin = request.getHeader(HttpHeaders.ORIGIN);
    return origin != null && !host.equalsIgnoreCase(authority(origin));
  }

  private static boolean isApi(String path) {
    return path.startsWith("/api/") || path.startsWith("/v1/") || path.startsWith("/actuator");
  }

  private static @Nullable String authority(String origin) {
    try {
      return URI.create(origin).getRawAuthority();
    } catch (IllegalArgumentException e) {
      return null;
    }
  }

  private static String name(String host) {
    int colon = host.lastIndexOf(':');
    boolean hasPort = colon > host.lastIndexOf(']') && colon >= 0;
    return (hasPort ? host.substring(0, colon) : host).toLowerCase(Locale.ROOT);
  }
}
