package dev.attune.web;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.validation.ConstraintViolationException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.temporal.Temporal;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.TypeMismatchException;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.ProblemDetail;
import org.springframework.http.ResponseEntity;
import org.springframework.http.converter.HttpMessageNotReadableException;
import org.springframework.http.converter.HttpMessageNotWritableException;
import org.springframework.security.access.AccessDeniedException;
import org.springframework.validation.ObjectError;
import org.springframework.web.bind.MethodArgumentNotValidException;
import org.springframework.web.bind.MissingServletRequestParameterException;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.RestControllerAdvice;
import org.springframework.web.context.request.WebRequest;
import org.springframework.web.context.request.async.AsyncRequestNotUsableException;
import org.springframework.web.method.annotation.HandlerMethodValidationException;
import org.springframework.web.servlet.mvc.method.annotation.ResponseEntityExceptionHandler;
import org.springframework.web.servlet.resource.NoResourceFoundException;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DatabindException;
import tools.jackson.databind.exc.InvalidFormatException;
import tools.jackson.databind.exc.MismatchedInputException;
import tools.jackson.databind.exc.UnrecognizedPropertyException;

/** Turns every exception of a REST resource into an RFC 9457 problem that names the field at fault. */
@RestControllerAdvice
class ProblemAdvice extends ResponseEntityExceptionHandler {

  private static final Logger log = LoggerFactory.getLogger(ProblemAdvice.class);

  @Override
  protected @Nullable ResponseEntity<Object> handleMethodArgumentNotValid(
      MethodArgumentNotValidException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    List<Problems.FieldError> errors =
        e.getBindingResult().getAllErrors().stream().map(ProblemAdvice::fieldError).toList();
    return answer(e, errors, headers, request);
  }

  @Override
  protected @Nullable ResponseEntity<Object> handleHandlerMethodValidationException(
      HandlerMethodValidationException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    if (e.isForReturnValue()) {
      return unexpected(e, request);
    }
    List<Problems.FieldError> errors =
        e.getParameterValidationResults().stream()
            .flatMap(
                result ->
                    result.getResolvableErrors().stream()
                        .map(
                            error ->
                                error instanceof org.springframework.validation.FieldError field
                                    ? fieldError(field)
                                    : new Problems.FieldError(
                                        String.valueOf(result.getMethodParameter().getParameterName()),
                                        String.valueOf(error.getDefaultMessage()))))
            .toList();
    return answer(e, errors, headers, request);
  }

  @Override
  protected @Nullable ResponseEntity<Object> handleMissingServletRequestParameter(
      MissingServletRequestParameterException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    return answer(e, List.of(new Problems.FieldError(e.getParameterName(), "is missing")), headers, request);
  }

  @Override
  protected @Nullable ResponseEntity<Object> handleNoResourceFoundException(
      NoResourceFoundException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    ProblemDetail problem =
        Problems.problem(HttpStatus.NOT_FOUND, "There is nothing at /" + e.getResourcePath() + ".", List.of());
    return handleExceptionInternal(e, problem, headers, HttpStatus.NOT_FOUND, request);
  }

  @Override
  protected @Nullable ResponseEntity<Object> handleTypeMismatch(
      TypeMismatchException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    Problems.FieldError error =
        new Problems.FieldError(String.valueOf(e.getPropertyName()), "must be " + expected(e.getRequiredType()));
    return answer(e, List.of(error), headers, request);
  }

  @Override
  protected @Nullable ResponseEntity<Object> handleHttpMessageNotReadable(
      HttpMessageNotReadableException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    for (Throwable t = e; t != null; t = t.getCause()) {
      if (t instanceof BodyTooLargeException tooLarge) {
        return bodyTooLarge(tooLarge, request);
      }
    }
    if (e.getCause() instanceof DatabindException cause && !cause.getPath().isEmpty()) {
      return answer(e, List.of(new Problems.FieldError(path(cause), complaint(cause))), headers, request);
    }
    String detail =
        e.getCause() instanceof JacksonException cause
            ? "The body is " + JsonItemReader.reason(cause)
            : "The body is missing or cannot be read.";
    return handleExceptionInternal(
        e, Problems.problem(HttpStatus.BAD_REQUEST, detail, List.of()), headers, HttpStatus.BAD_REQUEST, request);
  }

  @ExceptionHandler
  @Nullable ResponseEntity<Object> constraintViolation(ConstraintViolationException e, WebRequest request) {
    List<Problems.FieldError> errors =
        e.getConstraintViolations().stream()
            .map(v -> new Problems.FieldError(v.getPropertyPath().toString(), v.getMessage()))
            .toList();
    return answer(e, errors, new HttpHeaders(), request);
  }

  @ExceptionHandler
  @Nullable ResponseEntity<Object> bodyTooLarge(BodyTooLargeException e, WebRequest request) {
    ProblemDetail problem = Problems.problem(HttpStatus.CONTENT_TOO_LARGE, e.getMessage(), List.of());
    return handleExceptionInternal(e, problem, new HttpHeaders(), HttpStatus.CONTENT_TOO_LARGE, request);
  }

  /** The client is gone, or sent less than it announced: there is nobody to answer to, and nothing wrong here. */
  @ExceptionHandler({IOException.class, UncheckedIOException.class})
  @Nullable ResponseEntity<Object> brokenConnection(Exception e, WebRequest request, HttpServletRequest servlet) {
    for (Throwable t = e; t != null; t = t.getCause()) {
      if (t instanceof BodyTooLargeException tooLarge) {
        return bodyTooLarge(tooLarge, request);
      }
    }
    if (clientLeft(e)) {
      log.debug("{} {} broke off", servlet.getMethod(), servlet.getRequestURI());
      return null;
    }
    return unexpected(e, request);
  }

  /** The answer was on its way when the client went. */
  @Override
  protected @Nullable ResponseEntity<Object> handleHttpMessageNotWritable(
      HttpMessageNotWritableException e, HttpHeaders headers, HttpStatusCode status, WebRequest request) {
    if (clientLeft(e)) {
      log.debug("{} broke off", request.getDescription(false));
      return null;
    }
    return unexpected(e, request);
  }

  private static boolean clientLeft(Throwable e) {
    for (Throwable t = e; t != null; t = t.getCause()) {
      if (t instanceof AsyncRequestNotUsableException
          || t.getClass().getName().startsWith("org.apache.catalina.connector.ClientAbort")) {
        return true;
      }
    }
    return false;
  }

  @ExceptionHandler
  @Nullable ResponseEntity<Object> accessDenied(AccessDeniedException e, WebRequest request) {
    ProblemDetail problem = Problems.problem(HttpStatus.FORBIDDEN, e.getMessage(), List.of());
    return handleExceptionInternal(e, problem, new HttpHeaders(), HttpStatus.FORBIDDEN, request);
  }

  @ExceptionHandler
  @Nullable ResponseEntity<Object> unexpected(Exception e, WebRequest request) {
    String reference = UUID.randomUUID().toString();
    log.error("Request failed, reference {}", reference, e);
    ProblemDetail problem =
        Problems.problem(
            HttpStatus.INTERNAL_SERVER_ERROR, "Something went wrong in the service; its log has the details.",
            List.of());
    problem.setProperty("reference", reference);
    return handleExceptionInternal(e, problem, new HttpHeaders(), HttpStatus.INTERNAL_SERVER_ERROR, request);
  }

  private @Nullable ResponseEntity<Object> answer(
      Exception e, List<Problems.FieldError> errors, HttpHeaders headers, WebRequest request) {
    String detail = errors.stream().map(x -> x.field() + " " + x.message()).collect(Collectors.joining("; "));
    return handleExceptionInternal(
        e, Problems.problem(HttpStatus.BAD_REQUEST, detail, errors), headers, HttpStatus.BAD_REQUEST, request);
  }

  private static Problems.FieldError fieldError(ObjectError error) {
    String field =
        error instanceof org.springframework.validation.FieldError named ? named.getField() : error.getObjectName();
    return new Problems.FieldError(field, String.valueOf(error.getDefaultMessage()));
  }

  private static String path(DatabindException e) {
    StringBuilder path = new StringBuilder();
    for (JacksonException.Reference step : e.getPath()) {
      if (step.getPropertyName() == null) {
        path.append('[').append(step.getIndex()).append(']');
      } else {
        path.append(path.isEmpty() ? "" : ".").append(step.getPropertyName());
      }
    }
    return path.toString();
  }

  private static String complaint(DatabindException e) {
    return switch (e) {
      case UnrecognizedPropertyException unknown -> "is not a known field";
      case InvalidFormatException format -> "must be " + expected(format.getTargetType());
      case MismatchedInputException mismatch -> "must be " + expected(mismatch.getTargetType());
      default -> "cannot be read: " + rootMessage(e);
    };
  }

  /** A record's own check ({@code IllegalArgumentException} in its constructor) explains best what is wrong. */
  private static String rootMessage(Throwable e) {
    Throwable root = e;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    return root instanceof JacksonException json ? json.getOriginalMessage() : String.valueOf(root.getMessage());
  }

  private static String expected(@Nullable Class<?> type) {
    if (type == null) {
      return "of another type";
    }
    if (type.isEnum()) {
      return Arrays.stream(type.getEnumConstants())
          .map(constant -> constant.toString().toLowerCase(Locale.ROOT))
          .collect(Collectors.joining(", ", "one of ", ""));
    }
    if (Number.class.isAssignableFrom(type) || type.isPrimitive() && type != boolean.class) {
      return "a number";
    }
    if (type == Boolean.class || type == boolean.class) {
      return "true or false";
    }
    if (Collection.class.isAssignableFrom(type) || type.isArray()) {
      return "a list";
    }
    if (CharSequence.class.isAssignableFrom(type)) {
      return "a text";
    }
    if (type == UUID.class) {
      return "a UUID";
    }
    return Temporal.class.isAssignableFrom(type) ? "a time in ISO 8601" : "an object";
  }
}
