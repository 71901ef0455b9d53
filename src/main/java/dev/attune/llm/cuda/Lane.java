package dev.attune.llm.cuda;

import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** What one thread works with: a stream, kernels with their arguments, and buffers. */
class Lane implements AutoCloseable {

  final CudaDevice device;
  final Kernels kernels;
  private @Nullable PassRunner runner;

  Lane(CudaDevice device, Kernels kernels) {
    this.device = device;
    this.kernels = kernels;
  }

  /** Made when the first pass comes: a lane that only edits segments needs no buffers. */
  PassRunner runner(Function<Lane, PassRunner> make) {
    PassRunner made = runner;
    if (made == null) {
      made = make.apply(this);
      runner = made;
    }
    return made;
  }

  @Override
  public void close() {
    device.close();
  }
}
