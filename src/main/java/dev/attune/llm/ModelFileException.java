package dev.attune.llm;

/** A model, tokenizer or adapter file that cannot be used; the message names the file and says what is wrong. */
public class ModelFileException extends RuntimeException {

  public ModelFileException(String message) {
    super(message);
  }

  public ModelFileException(String message, Throwable cause) {
    super(message, cause);
  }
}
