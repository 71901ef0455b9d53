package dev.attune.llm.cuda;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** The driver's functions for streams, events, and graphs captured from streams; as {@link CudaDriver}. */
final class DriverStreams {

  private final MethodHandle create;
  private final MethodHandle destroy;
  private final MethodHandle synchronize;
  private final MethodHandle waitEvent;
  private final MethodHandle eventCreate;
  private final MethodHandle eventRecord;
  private final MethodHandle eventSynchronize;
  private final MethodHandle eventElapsedTime;
  private final MethodHandle beginCapture;
  private final MethodHandle endCapture;
  private final MethodHandle graphInstantiate;
  private final MethodHandle graphLaunch;
  private final MethodHandle graphExecDestroy;
  private final MethodHandle graphDestroy;

  DriverStreams(NativeLibraries.Library library) {
    create = library.function("cuStreamCreate", "pi");
    destroy = library.function("cuStreamDestroy_v2", "l");
    synchronize = library.function("cuStreamSynchronize", "l");
    waitEvent = library.function("cuStreamWaitEvent", "lli");
    eventCreate = library.function("cuEventCreate", "pi");
    eventRecord = library.function("cuEventRecord", "ll");
    eventSynchronize = library.function("cuEventSynchronize", "l");
    eventElapsedTime = library.function("cuEventElapsedTime", "pll");
    beginCapture = library.function("cuStreamBeginCapture_v2", "li");
    endCapture = library.function("cuStreamEndCapture", "lp");
    graphInstantiate = library.function("cuGraphInstantiateWithFlags", "pll");
    graphLaunch = library.function("cuGraphLaunch", "ll");
    graphExecDestroy = library.function("cuGraphExecDestroy", "l");
    graphDestroy = library.function("cuGraphDestroy", "l");
  }

  int create(MemorySegment stream, int flags) {
    try {
      return (int) this.create.invokeExact(stream, flags);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int destroy(long stream) {
    try {
      return (int) this.destroy.invokeExact(stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int synchronize(long stream) {
    try {
      return (int) this.synchronize.invokeExact(stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int waitEvent(long stream, long event, int flags) {
    try {
      return (int) this.waitEvent.invokeExact(stream, event, flags);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int eventCreate(MemorySegment event, int flags) {
    try {
      return (int) this.eventCreate.invokeExact(event, flags);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int eventRecord(long event, long stream) {
    try {
      return (int) this.eventRecord.invokeExact(event, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int eventSynchronize(long event) {
    try {
      return (int) this.eventSynchronize.invokeExact(event);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int eventElapsedTime(MemorySegment milliseconds, long start, long end) {
    try {
      return (int) this.eventElapsedTime.invokeExact(milliseconds, start, end);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int beginCapture(long stream, int mode) {
    try {
      return (int) this.beginCapture.invokeExact(stream, mode);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int endCapture(long stream, MemorySegment graph) {
    try {
      return (int) this.endCapture.invokeExact(stream, graph);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int graphInstantiate(MemorySegment executable, long graph, long flags) {
    try {
      return (int) this.graphInstantiate.invokeExact(executable, graph, flags);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int graphLaunch(long executable, long stream) {
    try {
      return (int) this.graphLaunch.invokeExact(executable, stream);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int graphExecDestroy(long executable) {
    try {
      return (int) this.graphExecDestroy.invokeExact(executable);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }

  int graphDestroy(long graph) {
    try {
      return (int) this.graphDestroy.invokeExact(graph);
    } catch (Throwable e) {
      throw CudaDriver.failure(e);
    }
  }
}
