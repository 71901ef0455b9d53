package dev.attune.web;

import java.io.IOException;

/** The body went past its limit while it was read. */
final class BodyTooLargeException extends IOException {

  private static final long serialVersionUID = 1;

  BodyTooLargeException(long limitBytes, String property) {
    super("The body is longer than " + limitBytes + " bytes; the limit is set by " + property + ".");
  }

  @Override
  public String getMessage() {
    return String.valueOf(super.getMessage());
  }
}
