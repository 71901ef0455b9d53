package dev.attune.llm.cuda;

/** A GPU, its driver or a library of it is missing or failed; the message names the operation and its shape. */
public final class CudaException extends RuntimeException {

  private static final long serialVersionUID = 1;

  CudaException(String message) {
    super(message);
  }
}
