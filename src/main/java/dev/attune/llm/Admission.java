package dev.attune.llm;

import java.lang.ScopedValue.CallableOp;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * Lets requests at the model. All calls of an {@link InferenceBackend} made within an operation belong to its caller:
 * callers take turns, so that one with a hundred requests does not keep the others waiting, and requests that wait at
 * the same time share the work. Thread-safe.
 */
public interface Admission {

  /**
   * Runs an operation of a request. Within another operation it is part of that one.
   *
   * @param caller whose turn it is: the same text for all requests of a user; never logged or counted by
   * @param patience after which no further work is begun for the operation: its calls then end with a {@link
   *     DeadlineExceededException}
   * @throws BusyException when as many requests as may are under way already; the operation has not begun
   */
  <T extends @Nullable Object, E extends Throwable> T admit(
      String caller, Duration patience, CallableOp<? extends T, E> operation) throws E;

  /** Runs an operation whose calls are served while nobody else waits, in small pieces. */
  <T extends @Nullable Object, E extends Throwable> T inBackground(
      CallableOp<? extends T, E> operation) throws E;

  /** As many requests as may are at the model, or wait for it. */
  final class BusyException extends RuntimeException {

    private static final long serialVersionUID = 1;

    private final Duration retryAfter;

    /** @param retryAfter when another attempt is worth it */
    public BusyException(Duration retryAfter) {
      super("The language model has as many requests as it takes; try again later", null, false, false);
      this.retryAfter = retryAfter;
    }

    public Duration retryAfter() {
      return retryAfter;
    }
  }

  /** The patience of a request ended before its work began. */
  final class DeadlineExceededException extends RuntimeException {

    private static final long serialVersionUID = 1;

    /** An expected end, without a trace. */
    public DeadlineExceededException() {
      super("The work did not begin in time", null, false, false);
    }
  }
}
