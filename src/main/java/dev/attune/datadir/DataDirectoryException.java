package dev.attune.datadir;

import org.jspecify.annotations.Nullable;

/** The data directory cannot be used; the message names it. */
public final class DataDirectoryException extends RuntimeException {

  private static final long serialVersionUID = 1;

  DataDirectoryException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
