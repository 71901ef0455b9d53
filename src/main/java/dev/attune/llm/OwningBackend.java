package dev.attune.llm;

/** A backend that holds weights and threads or a device, which are released with it. */
public interface OwningBackend extends InferenceBackend, AutoCloseable {

  /** Bytes of weights held. */
  long weightBytes();

  /** Releases everything; passes under way are cancelled. */
  @Override
  void close();
}
