package dev.attune.retrieval;

import org.jspecify.annotations.Nullable;

/** A document that cannot be indexed; the message names the field and what is wrong with it. */
final class InvalidDocumentException extends Exception {

  private final @Nullable String id;

  InvalidDocumentException(@Nullable String id, String message) {
    super(message);
    this.id = id;
  }

  /** The id of the document if it could be read. */
  @Nullable String id() {
    return id;
  }
}
