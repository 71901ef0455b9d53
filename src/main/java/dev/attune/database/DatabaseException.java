package dev.attune.database;

import org.jspecify.annotations.Nullable;

/** The embedded PostgreSQL cannot be started; the message says what failed and carries the server's own words. */
final class DatabaseException extends RuntimeException {

  private static final long serialVersionUID = 1;

  DatabaseException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }

  DatabaseException(String message) {
    super(message);
  }
}
