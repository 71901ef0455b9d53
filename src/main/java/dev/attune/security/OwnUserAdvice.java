package dev.attune.security;

import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.core.MethodParameter;
import org.springframework.http.HttpInputMessage;
import org.springframework.http.converter.HttpMessageConverter;
import org.springframework.security.access.AccessDeniedException;
import org.springframework.security.core.context.SecurityContextHolder;
import org.springframework.web.bind.annotation.ControllerAdvice;
import org.springframework.web.servlet.mvc.method.annotation.RequestBodyAdviceAdapter;

/** A {@code userId} in a request body must be one that the token may act for. */
@ControllerAdvice
@ConditionalOnProperty(name = "attune.security.mode", havingValue = "oidc")
final class OwnUserAdvice extends RequestBodyAdviceAdapter {

  @Override
  public boolean supports(
      MethodParameter parameter, Type targetType, Class<? extends HttpMessageConverter<?>> converterType) {
    return userIdOf(parameter.getParameterType()) != null;
  }

  @Override
  public Object afterBodyRead(
      Object body,
      HttpInputMessage message,
      MethodParameter parameter,
      Type targetType,
      Class<? extends HttpMessageConverter<?>> converterType) {
    RecordComponent component = userIdOf(body.getClass());
    try {
      if (component != null) {
        component.getAccessor().setAccessible(true);
        check((String) component.getAccessor().invoke(body));
      }
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
    return body;
  }

  static void check(@Nullable String userId) {
    if (userId != null && !Scopes.mayActFor(SecurityContextHolder.getContext().getAuthentication(), userId)) {
      throw new AccessDeniedException("The token may not act for this user.");
    }
  }

  private static @Nullable RecordComponent userIdOf(Class<?> type) {
    if (type.isRecord()) {
      for (RecordComponent component : type.getRecordComponents()) {
        if (component.getName().equals("userId") && component.getType() == String.class) {
          return component;
        }
      }
    }
    return null;
  }
}
