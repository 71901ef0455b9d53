package dev.attune.llm.cuda;

/** A captured sequence of kernels that is launched as one. */
final class CudaGraph implements AutoCloseable {

  private final CudaDevice device;
  private final long executable;

  CudaGraph(CudaDevice device, long executable) {
    this.device = device;
    this.executable = executable;
  }

  void launch() {
    device.check(device.driver.streams.graphLaunch(executable, device.stream), "Launching a graph");
  }

  @Override
  public void close() {
    device.check(device.driver.streams.graphExecDestroy(executable), "Releasing a graph");
  }
}
