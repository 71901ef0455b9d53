package dev.attune.llm.gguf;

/** A file that is not a usable GGUF model; the message says what is wrong and where. */
public class GgufException extends RuntimeException {

  public GgufException(String message) {
    super(message);
  }
}
