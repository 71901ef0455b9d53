package dev.attune.llm.cuda;

import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.Supplier;

/** Work that a call waits for, in the lanes of a backend; the loss of the device is told. */
final class LaneCalls {

  private final CudaShared shared;
  private final Lanes lanes;

  LaneCalls(CudaShared shared, Lanes lanes) {
    this.shared = shared;
    this.lanes = lanes;
  }

  /** Work in a lane with segments that are in use. */
  static <T> T using(SegmentUse use, Lane lane, Supplier<T> work) {
    use.await(lane.device);
    boolean done = false;
    try {
      T result = work.get();
      done = true;
      return result;
    } finally {
      if (!done) {
        // What was launched still reads segments, which are free to be moved from now on.
        lane.device.settle();
      }
    }
  }

  /** Work in some lane with segments. */
  <T> T on(List<CudaKvSegment> segments, Function<Lane, T> work) {
    return on(segments, 0, (lane, use) -> work.apply(lane));
  }

  /** Likewise, with memory for those that it makes. */
  <T> T on(List<CudaKvSegment> segments, long reserve, BiFunction<Lane, SegmentUse, T> work) {
    Lanes.Task<T> task = null;
    try {
      Set<CudaKvSegment> distinct = Collections.newSetFromMap(new IdentityHashMap<>());
      distinct.addAll(segments);
      SegmentUse use = shared.memory().use(distinct, reserve);
      task = lanes.submit(lane -> using(use, lane, () -> work.apply(lane, use)), use::release);
      return task.await();
    } catch (RuntimeException | Error e) {
      if (task != null) {
        task.cancel();
      }
      shared.check(e);
      throw e;
    }
  }

  /** Work in some lane. */
  <T> T on(Function<Lane, T> work) {
    Lanes.Task<T> task = lanes.submit(work, () -> {});
    try {
      return task.await();
    } catch (RuntimeException | Error e) {
      task.cancel();
      shared.check(e);
      throw e;
    }
  }
}
