package dev.attune.llm.cuda;

import java.lang.ref.Cleaner;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Device memory of segments, within a limit. A segment's memory is given back when the segment is unreachable: the
 * collector's thread only notes the address, the device's thread frees it, in the order of the stream.
 */
final class SegmentMemory {

  private static final Logger log = LoggerFactory.getLogger(SegmentMemory.class);
  private static final Cleaner CLEANER = Cleaner.create();
  /** How long the collector may take to find segments that nobody uses. */
  private static final int COLLECTIONS = 20;

  private record Dead(long address, long bytes) {}

  private final CudaDevice device;
  private final long limit;
  private final AtomicLong used = new AtomicLong();
  private final Queue<Dead> dead = new ConcurrentLinkedQueue<>();

  SegmentMemory(CudaDevice device, long limit) {
    this.device = device;
    this.limit = limit;
  }

  /** Bytes of segments that exist or have not been given back yet. */
  long used() {
    return used.get();
  }

  /**
   * A new segment; its numbers are not set.
   *
   * @throws CudaException when segments in use and this one together exceed the limit
   */
  CudaKvSegment allocate(CudaKvSegment.Shape shape, long contentId) {
    long bytes = Math.max(16, shape.bytes());
    reclaim();
    for (int i = 0; used.get() + bytes > limit && i < COLLECTIONS; i++) {
      if (i == 0) {
        log.debug("Device memory for keys and values is full; looking for segments that nobody uses");
      }
      // The heap may be almost empty while the device is full: the collector does not know of that memory.
      System.gc();
      try {
        Thread.sleep(10);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      }
      reclaim();
    }
    if (used.get() + bytes > limit) {
      throw new CudaException("Keys and values in use take %d bytes; %d more exceed the limit of %d (%s)"
          .formatted(used.get(), bytes, limit, "attune.llm.device-memory"));
    }
    long address = device.allocatePooled(bytes, shape.toString());
    used.addAndGet(bytes);
    CudaKvSegment segment = new CudaKvSegment(shape, address, contentId);
    Queue<Dead> queue = dead;
    CLEANER.register(segment, () -> queue.add(new Dead(address, bytes)));
    return segment;
  }

  private void reclaim() {
    for (Dead segment = dead.poll(); segment != null; segment = dead.poll()) {
      device.freePooled(segment.address);
      used.addAndGet(-segment.bytes);
    }
  }
}
