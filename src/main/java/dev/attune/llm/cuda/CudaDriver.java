package dev.attune.llm.cuda;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The functions of the CUDA driver that are used, one to one: arguments and results are those of the driver API, the
 * result is an error code, 0 for success. Device addresses and handles are longs.
 */
final class CudaDriver {

  /** Where the library was found. */
  final String place;
  final DriverMemory memory;
  final DriverStreams streams;

  private final MethodHandle init;
  private final MethodHandle driverGetVersion;
  private final MethodHandle deviceGetCount;
  private final MethodHandle deviceGet;
  private final MethodHandle deviceGetName;
  private final MethodHandle deviceGetAttribute;
  private final MethodHandle primaryCtxRetain;
  private final MethodHandle primaryCtxRelease;
  private final MethodHandle ctxSetCurrent;
  private final MethodHandle moduleLoadData;
  private final MethodHandle moduleGetFunction;
  private final MethodHandle funcSetAttribute;
  private final MethodHandle launchKernel;
  private final MethodHandle tensorMapEncodeTiled;

  /**
   * Binds the functions.
   *
   * @throws CudaException when there is no driver, or one older than CUDA 12
   */
  CudaDriver() {
    NativeLibraries.Library library = NativeLibraries.load("libcuda.so.1");
    place = library.place();
    memory = new DriverMemory(library);
    streams = new DriverStreams(library);
    init = library.function("cuInit", "i");
    driverGetVersion = library.function("cuDriverGetVersion", "p");
    deviceGetCount = library.function("cuDeviceGetCount", "p");
    deviceGet = library.function("cuDeviceGet", "pi");
    deviceGetName = library.function("cuDeviceGetName", "pii");
    deviceGetAttribute = library.function("cuDeviceGetAttribute", "pii");
    primaryCtxRetain = library.function("cuDevicePrimaryCtxRetain", "pi");
    primaryCtxRelease = library.function("cuDevicePrimaryCtxRelease_v2", "i");
    ctxSetCurrent = library.function("cuCtxSetCurrent", "l");
    moduleLoadData = library.function("cuModuleLoadData", "pp");
    moduleGetFunction = library.function("cuModuleGetFunction", "plp");
    funcSetAttribute = library.function("cuFuncSetAttribute", "lii");
    launchKernel = library.function("cuLaunchKernelEx", "plpp");
    tensorMapEncodeTiled = library.function("cuTensorMapEncodeTiled", "piilppppiiii");
  }

  int init(int flags) {
    try {
      return (int) this.init.invokeExact(flags);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int driverGetVersion(MemorySegment version) {
    try {
      return (int) this.driverGetVersion.invokeExact(version);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int deviceGetCount(MemorySegment count) {
    try {
      return (int) this.deviceGetCount.invokeExact(count);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int deviceGet(MemorySegment device, int ordinal) {
    try {
      return (int) this.deviceGet.invokeExact(device, ordinal);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int deviceGetName(MemorySegment name, int length, int device) {
    try {
      return (int) this.deviceGetName.invokeExact(name, length, device);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int deviceGetAttribute(MemorySegment value, int attribute, int device) {
    try {
      return (int) this.deviceGetAttribute.invokeExact(value, attribute, device);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int primaryCtxRetain(MemorySegment context, int device) {
    try {
      return (int) this.primaryCtxRetain.invokeExact(context, device);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int primaryCtxRelease(int device) {
    try {
      return (int) this.primaryCtxRelease.invokeExact(device);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int ctxSetCurrent(long context) {
    try {
      return (int) this.ctxSetCurrent.invokeExact(context);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int moduleLoadData(MemorySegment module, MemorySegment image) {
    try {
      return (int) this.moduleLoadData.invokeExact(module, image);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int moduleGetFunction(MemorySegment function, long module, MemorySegment name) {
    try {
      return (int) this.moduleGetFunction.invokeExact(function, module, name);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int funcSetAttribute(long function, int attribute, int value) {
    try {
      return (int) this.funcSetAttribute.invokeExact(function, attribute, value);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int launchKernel(MemorySegment config, long function, MemorySegment arguments, MemorySegment extra) {
    try {
      return (int) this.launchKernel.invokeExact(config, function, arguments, extra);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int tensorMapEncodeTiled(
      MemorySegment map, int type, int rank, long address, MemorySegment dimensions, MemorySegment strides,
      MemorySegment box, MemorySegment elementStrides, int interleave, int swizzle, int promotion, int fill) {
    try {
      return (int) this.tensorMapEncodeTiled.invokeExact(map, type, rank, address, dimensions, strides, box,
          elementStrides, interleave, swizzle, promotion, fill);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** What a call throws that could not be made. */
  static RuntimeException failure(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return e instanceof RuntimeException known ? known : new IllegalStateException(e);
  }
}
