package dev.attune.llm.cuda;

/** A weight is larger than the chosen {@link Numbers} can be, or activations are nearly as large. */
final class NumberRangeException extends RuntimeException {

  private static final long serialVersionUID = 1;

  NumberRangeException(String message) {
    super(message);
  }
}
