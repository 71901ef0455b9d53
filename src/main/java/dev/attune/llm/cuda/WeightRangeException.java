package dev.attune.llm.cuda;

/** A weight is larger than the chosen {@link Numbers} can be. */
final class WeightRangeException extends RuntimeException {

  private static final long serialVersionUID = 1;

  WeightRangeException(String message) {
    super(message);
  }
}
