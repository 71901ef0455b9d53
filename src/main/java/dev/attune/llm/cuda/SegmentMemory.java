package dev.attune.llm.cuda;

import dev.attune.llm.cuda.Residency.Item;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;

/**
 * Segments in memory, within a limit on the device ({@link DeviceRoom}): what was used longest ago moves to pinned
 * memory of the host, and comes back when it is used ({@link SegmentCopies}); a pass waits for the copies of its
 * segments. The memory of a segment that nobody can reach is given back some time later. Thread-safe.
 */
final class SegmentMemory implements AutoCloseable {

  private static final Cleaner CLEANER = Cleaner.create();

  private final SegmentCopies copies;
  private final DeviceRoom room;

  /** Memory without a tier on the host. */
  SegmentMemory(CudaDevice device, long limit) {
    this(new Copies(device), limit, MemorySegment.NULL);
  }

  /**
   * Memory of two tiers.
   *
   * @param limit bytes on the device
   * @param host pinned memory, which is only this one's
   */
  SegmentMemory(Copies copies, long limit, MemorySegment host) {
    this.copies = new SegmentCopies(copies, host);
    room = new DeviceRoom(limit, this.copies);
  }

  /** Bytes of a segment, for {@link #use}. */
  static long size(CudaKvSegment.Shape shape) {
    return Math.max(16, shape.bytes());
  }

  /** What is free and taken. */
  DeviceRoom room() {
    return room;
  }

  /** What brings segments. */
  SegmentCopies copies() {
    return copies;
  }

  /** A segment over numbers in memory of the host, which must stay as they are; copied when it is first used. */
  CudaKvSegment readable(CudaKvSegment.Shape shape, long contentId, MemorySegment numbers) {
    return segment(shape, room.readable(numbers), contentId);
  }

  /** A segment whose item is given back once the segment cannot be reached. */
  CudaKvSegment segment(CudaKvSegment.Shape shape, Item item, long contentId) {
    CudaKvSegment segment = new CudaKvSegment(shape, item, contentId);
    DeviceRoom owner = room;
    CLEANER.register(segment, () -> owner.abandoned(item));
    return segment;
  }

  /** The numbers of a segment can be read in memory of the host from now on, which must stay as it is. */
  boolean stored(CudaKvSegment segment, MemorySegment numbers) {
    Item item = segment.item();
    if (item != null) {
      room.stored(item, numbers, segment);
    }
    return item != null;
  }

  /** A restored segment is no longer kept for the next who restores it. */
  void forget(CudaKvSegment segment) {
    Item item = segment.item();
    if (item != null) {
      room.forget(item);
    }
  }

  /**
   * Brings segments to the device and keeps them there. Returns when their copies are under way.
   *
   * @param reserve bytes for segments that the call makes
   * @throws CudaException when segments in use, these and the reserve exceed the limit
   * @throws CancellationException when interrupted
   */
  SegmentUse use(Collection<CudaKvSegment> segments, long reserve) {
    Map<Item, CudaKvSegment> wanted = new LinkedHashMap<>();
    for (CudaKvSegment segment : segments) {
      if (segment.item() != null) {
        wanted.put(segment.item(), segment);
      }
    }
    DeviceRoom.Claimed claimed = room.claim(wanted, reserve);
    SegmentUse use = new SegmentUse(this, wanted.keySet(), reserve);
    try {
      use.expect(claimed.copy());
      copies.bring(claimed.arriving(), room);
      for (CompletableFuture<Long> arrival : claimed.expected()) {
        use.expect(SegmentCopies.await(arrival));
      }
      return use;
    } catch (RuntimeException | Error e) {
      use.release();
      throw e;
    }
  }

  /**
   * A new segment, made by the thread of a device and in use until it is {@linkplain #settled settled}; its numbers are
   * not set. Does not wait for other calls.
   *
   * @throws CudaException when segments in use and this one together exceed the limit
   */
  CudaKvSegment allocate(CudaDevice device, CudaKvSegment.Shape shape, long contentId) {
    long bytes = size(shape);
    room.reserve(bytes);
    try {
      return segment(shape, room.created(bytes, device.allocatePooled(bytes, shape.toString())), contentId);
    } catch (RuntimeException | Error e) {
      room.unreserve(bytes);
      throw e;
    }
  }

  /** The numbers of a new segment are set. */
  void settled(CudaKvSegment segment) {
    Item item = segment.item();
    if (item != null) {
      room.settled(item);
    }
  }

  /** Refuses further uses and waits for those under way. */
  @Override
  public void close() {
    room.close();
    copies.close();
  }
}
