package dev.attune.llm.cuda;

/** Ends the use of the GPU by this process. */
public final class BrokenDevice {

  private BrokenDevice() {}

  /** Runs a kernel that reads where there is nothing; the process's other users of the GPU fail from now on. */
  public static CudaException byIllegalAddress() {
    Gpu gpu = Gpu.open();
    gpu.kernels(TestShapes.llama(128, 3, 1, 64, 128)).rmsNorm.launch(1, 1, 128, 64L, 64L, 128, 1e-5f);
    try {
      gpu.device.synchronize("Reading where there is nothing");
    } catch (CudaException e) {
      return e;
    }
    throw new AssertionError("The kernel ran");
  }
}
