package dev.attune.admin;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.security.Principal;
import java.util.Comparator;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;
import org.springframework.web.servlet.HandlerInterceptor;
import org.springframework.web.servlet.HandlerMapping;
import org.springframework.web.servlet.config.annotation.InterceptorRegistry;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** Puts every request that changes data of a user or of the administration into the audit log. */
@Component
class AuditInterceptor implements HandlerInterceptor, WebMvcConfigurer {

  private static final String ENTRY = AuditInterceptor.class.getName() + ".entry";
  private static final Set<String> CHANGING = Set.of("POST", "PUT", "PATCH", "DELETE");
  private static final int MAX_REASON = 500;

  private final AuditTrail audit;

  AuditInterceptor(AuditTrail audit) {
    this.audit = audit;
  }

  @Override
  public void addInterceptors(InterceptorRegistry registry) {
    registry.addInterceptor(this).addPathPatterns("/api/v1/users/**", "/api/v1/admin/**");
  }

  @Override
  public boolean preHandle(HttpServletRequest request, HttpServletResponse response, Object handler) {
    if (CHANGING.contains(request.getMethod()) && request.getAttribute(ENTRY) == null) {
      Principal principal = request.getUserPrincipal();
      String action =
          request.getMethod() + " " + request.getAttribute(HandlerMapping.BEST_MATCHING_PATTERN_ATTRIBUTE);
      request.setAttribute(
          ENTRY,
          audit.begin(principal == null ? "local" : principal.getName(), action, subject(request), reason(request)));
    }
    return true;
  }

  /** To be called before the action: the request concerns a user whom only its body names. */
  void concerns(HttpServletRequest request, String userId) {
    if (request.getAttribute(ENTRY) instanceof Long entry) {
      audit.concerns(entry, userId);
    }
  }

  @Override
  public void afterCompletion(
      HttpServletRequest request, HttpServletResponse response, Object handler, @Nullable Exception failure) {
    if (request.getAttribute(ENTRY) instanceof Long entry) {
      audit.complete(entry, response.getStatus());
    }
  }

  /**
   * The path's variables: user, two users to be merged, entity, alias or job. They stand in the order of the path,
   * which tells who was merged into whom; the map has no order.
   */
  private static @Nullable String subject(HttpServletRequest request) {
    if (request.getAttribute(HandlerMapping.URI_TEMPLATE_VARIABLES_ATTRIBUTE) instanceof Map<?, ?> variables
        && !variables.isEmpty()) {
      Object user = variables.get("userId");
      String pattern = String.valueOf(request.getAttribute(HandlerMapping.BEST_MATCHING_PATTERN_ATTRIBUTE));
      return user != null
          ? user.toString()
          : variables.entrySet().stream()
              .sorted(Comparator.comparingInt(variable -> pattern.indexOf("{" + variable.getKey())))
              .map(variable -> String.valueOf(variable.getValue()))
              .collect(Collectors.joining(" "));
    }
    return null;
  }

  private static @Nullable String reason(HttpServletRequest request) {
    String reason = request.getHeader("X-Audit-Reason");
    if (reason == null || reason.isBlank()) {
      return null;
    }
    String text = reason.strip();
    return text.substring(0, Math.min(MAX_REASON, text.length()));
  }
}
