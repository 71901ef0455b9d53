package dev.attune.llm.cuda;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** The driver's functions for memory of the device and pinned memory of the host; as {@link CudaDriver}. */
final class DriverMemory {

  private final MethodHandle info;
  private final MethodHandle allocate;
  private final MethodHandle free;
  private final MethodHandle allocateAsync;
  private final MethodHandle freeAsync;
  private final MethodHandle allocateHost;
  private final MethodHandle freeHost;
  private final MethodHandle copyToDevice;
  private final MethodHandle copyToHost;
  private final MethodHandle copyOnDevice;
  private final MethodHandle fill;
  private final MethodHandle defaultPool;
  private final MethodHandle setPoolAttribute;

  DriverMemory(NativeLibraries.Library library) {
    info = library.function("cuMemGetInfo_v2", "pp");
    allocate = library.function("cuMemAlloc_v2", "pl");
    free = library.function("cuMemFree_v2", "l");
    allocateAsync = library.function("cuMemAllocAsync", "pll");
    freeAsync = library.function("cuMemFreeAsync", "ll");
    allocateHost = library.function("cuMemAllocHost_v2", "pl");
    freeHost = library.function("cuMemFreeHost", "l");
    copyToDevice = library.function("cuMemcpyHtoDAsync_v2", "lpll");
    copyToHost = library.function("cuMemcpyDtoHAsync_v2", "plll");
    copyOnDevice = library.function("cuMemcpyDtoDAsync_v2", "llll");
    fill = library.function("cuMemsetD8Async", "lill");
    defaultPool = library.function("cuDeviceGetDefaultMemPool", "pi");
    setPoolAttribute = library.function("cuMemPoolSetAttribute", "lip");
  }

  int info(MemorySegment free, MemorySegment total) {
    try {
      return (int) this.info.invokeExact(free, total);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int allocate(MemorySegment address, long bytes) {
    try {
      return (int) this.allocate.invokeExact(address, bytes);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int free(long address) {
    try {
      return (int) this.free.invokeExact(address);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int allocateAsync(MemorySegment address, long bytes, long stream) {
    try {
      return (int) this.allocateAsync.invokeExact(address, bytes, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int freeAsync(long address, long stream) {
    try {
      return (int) this.freeAsync.invokeExact(address, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int allocateHost(MemorySegment address, long bytes) {
    try {
      return (int) this.allocateHost.invokeExact(address, bytes);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int freeHost(long address) {
    try {
      return (int) this.freeHost.invokeExact(address);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int copyToDevice(long to, MemorySegment from, long bytes, long stream) {
    try {
      return (int) this.copyToDevice.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int copyToHost(MemorySegment to, long from, long bytes, long stream) {
    try {
      return (int) this.copyToHost.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int copyOnDevice(long to, long from, long bytes, long stream) {
    try {
      return (int) this.copyOnDevice.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int fill(long address, int value, long bytes, long stream) {
    try {
      return (int) this.fill.invokeExact(address, value, bytes, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int defaultPool(MemorySegment pool, int device) {
    try {
      return (int) this.defaultPool.invokeExact(pool, device);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int setPoolAttribute(long pool, int attribute, MemorySegment value) {
    try {
      return (int) this.setPoolAttribute.invokeExact(pool, attribute, value);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }
}
