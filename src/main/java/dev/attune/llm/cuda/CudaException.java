package dev.attune.llm.cuda;

/** A GPU, its driver or a library of it is missing or failed; the message names the operation and its shape. */
public final class CudaException extends RuntimeException {

  private static final long serialVersionUID = 1;

  private final boolean deviceLost;

  /** A failure with a message for people. */
  public CudaException(String message) {
    this(message, false);
  }

  CudaException(String message, boolean deviceLost) {
    super(message);
    this.deviceLost = deviceLost;
  }

  /** Whether every further call will fail too, since the failure ended the device's context. */
  public boolean deviceLost() {
    return deviceLost;
  }
}
