package dev.attune.searchlog;

/** Two users cannot be merged, as one of them was merged before. The message says which and can be shown. */
public class AlreadyMergedException extends RuntimeException {

  AlreadyMergedException(String message) {
    super(message);
  }
}
