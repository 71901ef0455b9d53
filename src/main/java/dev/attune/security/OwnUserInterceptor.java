package dev.attune.security;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import org.springframework.web.servlet.HandlerInterceptor;
import org.springframework.web.servlet.config.annotation.InterceptorRegistry;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** A {@code userId} in the query string must be one that the token may act for. */
final class OwnUserInterceptor implements HandlerInterceptor, WebMvcConfigurer {

  @Override
  public boolean preHandle(HttpServletRequest request, HttpServletResponse response, Object handler) {
    String[] values = request.getParameterValues("userId");
    if (values != null) {
      for (String userId : values) {
        OwnUserAdvice.check(userId);
      }
    }
    return true;
  }

  @Override
  public void addInterceptors(InterceptorRegistry registry) {
    registry.addInterceptor(this).addPathPatterns("/api/**", "/v1/**");
  }
}
