package dev.attune.llm;

/** A backend that holds weights and threads or a device, which are released with it. */
public interface OwningBackend extends InferenceBackend, AutoCloseable {

  /** Bytes of weights held. */
  long weightBytes();

  /**
   * The same weights for other calls, which do not wait for this one's where the hardware can serve both at the same
   * time. Lives as long as this one.
   */
  default InferenceBackend beside() {
    return this;
  }

  /** Releases everything; passes under way are cancelled. */
  @Override
  void close();
}
