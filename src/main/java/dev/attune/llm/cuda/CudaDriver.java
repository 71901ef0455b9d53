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

  private final MethodHandle init;
  private final MethodHandle driverGetVersion;
  private final MethodHandle deviceGetCount;
  private final MethodHandle deviceGet;
  private final MethodHandle deviceGetName;
  private final MethodHandle deviceGetAttribute;
  private final MethodHandle deviceGetDefaultMemPool;
  private final MethodHandle memPoolSetAttribute;
  private final MethodHandle primaryCtxRetain;
  private final MethodHandle primaryCtxRelease;
  private final MethodHandle ctxSetCurrent;
  private final MethodHandle memGetInfo;
  private final MethodHandle memAlloc;
  private final MethodHandle memFree;
  private final MethodHandle memAllocAsync;
  private final MethodHandle memFreeAsync;
  private final MethodHandle memAllocHost;
  private final MethodHandle memFreeHost;
  private final MethodHandle copyToDevice;
  private final MethodHandle copyToHost;
  private final MethodHandle copyOnDevice;
  private final MethodHandle fill;
  private final MethodHandle streamCreate;
  private final MethodHandle streamDestroy;
  private final MethodHandle streamSynchronize;
  private final MethodHandle streamWaitEvent;
  private final MethodHandle eventCreate;
  private final MethodHandle eventRecord;
  private final MethodHandle eventSynchronize;
  private final MethodHandle eventElapsedTime;
  private final MethodHandle eventDestroy;
  private final MethodHandle moduleLoadData;
  private final MethodHandle moduleUnload;
  private final MethodHandle moduleGetFunction;
  private final MethodHandle funcSetAttribute;
  private final MethodHandle launchKernel;
  private final MethodHandle beginCapture;
  private final MethodHandle endCapture;
  private final MethodHandle graphInstantiate;
  private final MethodHandle graphLaunch;
  private final MethodHandle graphExecDestroy;
  private final MethodHandle graphDestroy;
  private final MethodHandle tensorMapEncodeTiled;

  /**
   * Binds the functions.
   *
   * @throws CudaException when there is no driver, or one older than CUDA 12
   */
  CudaDriver() {
    NativeLibraries.Library library = NativeLibraries.load("libcuda.so.1");
    place = library.place();
    init = library.function("cuInit", "i");
    driverGetVersion = library.function("cuDriverGetVersion", "p");
    deviceGetCount = library.function("cuDeviceGetCount", "p");
    deviceGet = library.function("cuDeviceGet", "pi");
    deviceGetName = library.function("cuDeviceGetName", "pii");
    deviceGetAttribute = library.function("cuDeviceGetAttribute", "pii");
    deviceGetDefaultMemPool = library.function("cuDeviceGetDefaultMemPool", "pi");
    memPoolSetAttribute = library.function("cuMemPoolSetAttribute", "lip");
    primaryCtxRetain = library.function("cuDevicePrimaryCtxRetain", "pi");
    primaryCtxRelease = library.function("cuDevicePrimaryCtxRelease_v2", "i");
    ctxSetCurrent = library.function("cuCtxSetCurrent", "l");
    memGetInfo = library.function("cuMemGetInfo_v2", "pp");
    memAlloc = library.function("cuMemAlloc_v2", "pl");
    memFree = library.function("cuMemFree_v2", "l");
    memAllocAsync = library.function("cuMemAllocAsync", "pll");
    memFreeAsync = library.function("cuMemFreeAsync", "ll");
    memAllocHost = library.function("cuMemAllocHost_v2", "pl");
    memFreeHost = library.function("cuMemFreeHost", "l");
    copyToDevice = library.function("cuMemcpyHtoDAsync_v2", "lpll");
    copyToHost = library.function("cuMemcpyDtoHAsync_v2", "plll");
    copyOnDevice = library.function("cuMemcpyDtoDAsync_v2", "llll");
    fill = library.function("cuMemsetD8Async", "lill");
    streamCreate = library.function("cuStreamCreate", "pi");
    streamDestroy = library.function("cuStreamDestroy_v2", "l");
    streamSynchronize = library.function("cuStreamSynchronize", "l");
    streamWaitEvent = library.function("cuStreamWaitEvent", "lli");
    eventCreate = library.function("cuEventCreate", "pi");
    eventRecord = library.function("cuEventRecord", "ll");
    eventSynchronize = library.function("cuEventSynchronize", "l");
    eventElapsedTime = library.function("cuEventElapsedTime", "pll");
    eventDestroy = library.function("cuEventDestroy_v2", "l");
    moduleLoadData = library.function("cuModuleLoadData", "pp");
    moduleUnload = library.function("cuModuleUnload", "l");
    moduleGetFunction = library.function("cuModuleGetFunction", "plp");
    funcSetAttribute = library.function("cuFuncSetAttribute", "lii");
    launchKernel = library.function("cuLaunchKernelEx", "plpp");
    beginCapture = library.function("cuStreamBeginCapture_v2", "li");
    endCapture = library.function("cuStreamEndCapture", "lp");
    graphInstantiate = library.function("cuGraphInstantiateWithFlags", "pll");
    graphLaunch = library.function("cuGraphLaunch", "ll");
    graphExecDestroy = library.function("cuGraphExecDestroy", "l");
    graphDestroy = library.function("cuGraphDestroy", "l");
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

  int deviceGetDefaultMemPool(MemorySegment pool, int device) {
    try {
      return (int) this.deviceGetDefaultMemPool.invokeExact(pool, device);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memPoolSetAttribute(long pool, int attribute, MemorySegment value) {
    try {
      return (int) this.memPoolSetAttribute.invokeExact(pool, attribute, value);
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

  int memGetInfo(MemorySegment free, MemorySegment total) {
    try {
      return (int) this.memGetInfo.invokeExact(free, total);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memAlloc(MemorySegment address, long bytes) {
    try {
      return (int) this.memAlloc.invokeExact(address, bytes);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memFree(long address) {
    try {
      return (int) this.memFree.invokeExact(address);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memAllocAsync(MemorySegment address, long bytes, long stream) {
    try {
      return (int) this.memAllocAsync.invokeExact(address, bytes, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memFreeAsync(long address, long stream) {
    try {
      return (int) this.memFreeAsync.invokeExact(address, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memAllocHost(MemorySegment address, long bytes) {
    try {
      return (int) this.memAllocHost.invokeExact(address, bytes);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int memFreeHost(long address) {
    try {
      return (int) this.memFreeHost.invokeExact(address);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int copyToDevice(long to, MemorySegment from, long bytes, long stream) {
    try {
      return (int) this.copyToDevice.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int copyToHost(MemorySegment to, long from, long bytes, long stream) {
    try {
      return (int) this.copyToHost.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int copyOnDevice(long to, long from, long bytes, long stream) {
    try {
      return (int) this.copyOnDevice.invokeExact(to, from, bytes, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int fill(long address, int value, long bytes, long stream) {
    try {
      return (int) this.fill.invokeExact(address, value, bytes, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int streamCreate(MemorySegment stream, int flags) {
    try {
      return (int) this.streamCreate.invokeExact(stream, flags);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int streamDestroy(long stream) {
    try {
      return (int) this.streamDestroy.invokeExact(stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int streamSynchronize(long stream) {
    try {
      return (int) this.streamSynchronize.invokeExact(stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int streamWaitEvent(long stream, long event, int flags) {
    try {
      return (int) this.streamWaitEvent.invokeExact(stream, event, flags);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int eventCreate(MemorySegment event, int flags) {
    try {
      return (int) this.eventCreate.invokeExact(event, flags);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int eventRecord(long event, long stream) {
    try {
      return (int) this.eventRecord.invokeExact(event, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int eventSynchronize(long event) {
    try {
      return (int) this.eventSynchronize.invokeExact(event);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int eventElapsedTime(MemorySegment milliseconds, long start, long end) {
    try {
      return (int) this.eventElapsedTime.invokeExact(milliseconds, start, end);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int eventDestroy(long event) {
    try {
      return (int) this.eventDestroy.invokeExact(event);
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

  int moduleUnload(long module) {
    try {
      return (int) this.moduleUnload.invokeExact(module);
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

  int beginCapture(long stream, int mode) {
    try {
      return (int) this.beginCapture.invokeExact(stream, mode);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int endCapture(long stream, MemorySegment graph) {
    try {
      return (int) this.endCapture.invokeExact(stream, graph);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int graphInstantiate(MemorySegment executable, long graph, long flags) {
    try {
      return (int) this.graphInstantiate.invokeExact(executable, graph, flags);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int graphLaunch(long executable, long stream) {
    try {
      return (int) this.graphLaunch.invokeExact(executable, stream);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int graphExecDestroy(long executable) {
    try {
      return (int) this.graphExecDestroy.invokeExact(executable);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  int graphDestroy(long graph) {
    try {
      return (int) this.graphDestroy.invokeExact(graph);
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

  private static RuntimeException failure(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return e instanceof RuntimeException known ? known : new IllegalStateException(e);
  }
}
