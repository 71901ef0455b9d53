package dev.attune.llm.cuda;

import dev.attune.llm.cuda.Residency.Item;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Segments that stay on the device for a call, and memory for those that it makes. To be {@linkplain #release released}
 * as often as it has holders. Thread-safe.
 */
final class SegmentUse {

  private final SegmentMemory memory;
  private final AtomicInteger holders = new AtomicInteger(1);
  /** Number of the last copy that brings one. */
  private volatile long copy;
  // Guarded by this.
  private final List<Item> items;
  private long reserved;

  /**
   * Of what was claimed.
   *
   * @param reserved bytes
   */
  SegmentUse(SegmentMemory memory, Collection<Item> items, long reserved) {
    this.memory = memory;
    this.items = new ArrayList<>(items);
    this.reserved = reserved;
  }

  /** One more who will release it. */
  void hold() {
    holders.incrementAndGet();
  }

  /** The segments are there once the copy of this number has ended. */
  void expect(long number) {
    copy = Math.max(copy, number);
  }

  /** Lets what follows in a device's stream wait until the segments are there. */
  void await(CudaDevice device) {
    memory.copies().await(device, copy);
  }

  /** A new segment out of what was reserved; its numbers are not set. In use as long as the others. */
  CudaKvSegment allocate(CudaDevice device, CudaKvSegment.Shape shape, long contentId) {
    long bytes = take(shape);
    Item item = memory.room().created(bytes, addressOf(device, bytes, shape));
    synchronized (this) {
      items.add(item);
    }
    return memory.segment(shape, item, contentId);
  }

  /** The same for the duration of a pass: to be {@linkplain #discard discarded} by the same thread. */
  CudaKvSegment scratch(CudaDevice device, CudaKvSegment.Shape shape) {
    return new CudaKvSegment(shape, addressOf(device, take(shape), shape), 0);
  }

  void discard(CudaDevice device, CudaKvSegment scratch) {
    device.freePooled(scratch.address());
    memory.room().unreserve(SegmentMemory.size(scratch.shape));
  }

  private synchronized long take(CudaKvSegment.Shape shape) {
    long bytes = SegmentMemory.size(shape);
    if (reserved < bytes) {
      throw new IllegalStateException("%d bytes of %d that were reserved".formatted(bytes, reserved));
    }
    reserved -= bytes;
    return bytes;
  }

  private long addressOf(CudaDevice device, long bytes, CudaKvSegment.Shape shape) {
    try {
      return device.allocatePooled(bytes, shape.toString());
    } catch (RuntimeException | Error e) {
      memory.room().unreserve(bytes);
      throw e;
    }
  }

  /** Ends the use, once every holder has released it. */
  void release() {
    if (holders.decrementAndGet() == 0) {
      synchronized (this) {
        memory.room().release(items, reserved);
      }
    }
  }
}
