package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import org.junit.jupiter.api.Test;

/** A kernel that reads where there is nothing ends the context; a new one can be opened. Skipped without a GPU. */
class LostDeviceTest {

  @Test
  void anIllegalAddressLosesTheDeviceUntilItIsOpenedAgain() {
    try (Gpu gpu = Gpu.open()) {
      Kernels kernels = KernelTwinTest.kernels(gpu, KernelTwinTest.shape(128, 3, 1, 64, 128));
      kernels.rmsNorm.launch(1, 1, 128, 64L, 64L, 128, 1e-5f);
      CudaException failure =
          catchThrowableOfType(CudaException.class, () -> gpu.device.synchronize("Reading where there is nothing"));
      assertThat(failure).hasMessageContaining("illegal address");
      assertThat(failure.deviceLost()).isTrue();
      assertThat(catchThrowableOfType(CudaException.class, () -> gpu.device.allocate(16, "a test")).deviceLost()).isTrue();
    }
    try (Gpu gpu = Gpu.open()) {
      long numbers = gpu.floats(new float[] {1, 2});
      assertThat(gpu.readFloats(numbers, 2)).containsExactly(1, 2);
      CudaException full = catchThrowableOfType(CudaException.class, () -> gpu.device.allocate(1L << 50, "a test"));
      assertThat(full).hasMessageContaining("out of memory");
      assertThat(full.deviceLost()).isFalse();
    }
  }
}
