package dev.attune.web;

import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.ProblemDetail;
import org.springframework.web.ErrorResponseException;

/** Makes the exceptions with which a REST resource answers an RFC 9457 problem. */
public final class Problems {

  private Problems() {}

  /**
   * 400: a field of the request is wrong.
   *
   * @param field path of the field as the client wrote it, for example {@code filters.year}
   * @param message what is wrong and what would be right, for example {@code must be between 1 and 500}
   */
  public static ErrorResponseException badField(String field, String message) {
    return exception(problem(HttpStatus.BAD_REQUEST, field + " " + message, List.of(new FieldError(field, message))));
  }

  /** A text that the database can hold, as given; otherwise 400 for the field, as {@link #badField} says. */
  public static String checkText(String field, String value, int longest) {
    if (value.length() > longest || !StorableText.storable(value)) {
      throw badField(field, "must be at most " + longest + " characters, without U+0000 and unpaired surrogates");
    }
    return value;
  }

  /** 404: there is no such thing. */
  public static ErrorResponseException notFound(String what, String id) {
    return of(HttpStatus.NOT_FOUND, "There is no " + what + " with the id " + id + ".");
  }

  /** 429: too much is under way already. */
  public static ErrorResponseException tooManyRequests(String detail, Duration retryAfter) {
    ErrorResponseException exception = of(HttpStatus.TOO_MANY_REQUESTS, detail);
    exception.getHeaders().set(HttpHeaders.RETRY_AFTER, String.valueOf(Math.max(1, retryAfter.toSeconds())));
    return exception;
  }

  /** Any other status, with one sentence for the client. */
  public static ErrorResponseException of(HttpStatus status, String detail) {
    return exception(problem(status, detail, List.of()));
  }

  static ProblemDetail problem(HttpStatus status, @Nullable String detail, List<FieldError> errors) {
    ProblemDetail problem = ProblemDetail.forStatus(status);
    problem.setDetail(detail);
    if (!errors.isEmpty()) {
      problem.setProperty("errors", errors);
    }
    return problem;
  }

  private static ErrorResponseException exception(ProblemDetail problem) {
    return new ErrorResponseException(HttpStatus.valueOf(problem.getStatus()), problem, null);
  }

  /** One field at fault. */
  record FieldError(String field, String message) {}
}
