package dev.attune.llm.cuda;

import dev.attune.llm.cuda.Residency.Item;
import dev.attune.llm.cuda.Residency.Move;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Memory of segments, within a limit on the device: what was used longest ago moves to pinned memory of the host, and comes
 * back when it is used ({@link Residency}). Copies run in a stream of their own ({@link Copies}); a pass waits for those
 * of its segments. The memory of a segment that nobody can reach is given back some time later. Thread-safe.
 */
final class SegmentMemory implements AutoCloseable {

  private static final Cleaner CLEANER = Cleaner.create();
  /** How often the collector is asked for segments that nobody can reach, and how long it may take each time. */
  private static final int COLLECTIONS = 20;
  private static final long COLLECTION_NANOS = TimeUnit.MILLISECONDS.toNanos(10);
  /** How long a call waits for others to end their use of the device's memory. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(2);

  private final Copies copies;
  /** Pinned. */
  private final MemorySegment host;
  /** Items of segments that nobody can reach. */
  private final Queue<Item> dead = new ConcurrentLinkedQueue<>();
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition released = lock.newCondition();
  // Guarded by lock.
  private final Residency residency;
  private int uses;
  private boolean closed;

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
    this.copies = copies;
    this.host = host;
    residency = new Residency(limit, host.byteSize(), copies::completed);
  }

  /** Segments that stay on the device for a call. To be {@linkplain #release released} as often as it has holders. */
  final class Use {
    private final List<Item> items;
    private final AtomicInteger holders = new AtomicInteger(1);
    private long reserved;
    private long copy;

    private Use(List<Item> items, long reserved) {
      this.items = items;
      this.reserved = reserved;
    }

    /** One more who will release it. */
    void hold() {
      holders.incrementAndGet();
    }

    /** Lets what follows in a device's stream wait until the segments are there. */
    void await(CudaDevice device) {
      copies.await(device, copy);
    }

    /** A new segment out of what was reserved; its numbers are not set. In use as long as the others. */
    CudaKvSegment allocate(CudaDevice device, CudaKvSegment.Shape shape, long contentId) {
      long bytes = take(shape);
      long address = memory(device, bytes, shape);
      Item item;
      lock.lock();
      try {
        item = residency.created(bytes, address);
        items.add(item);
      } finally {
        lock.unlock();
      }
      return segment(shape, item, contentId);
    }

    /** The same for the duration of a pass: to be {@linkplain #discard discarded} by the same thread. */
    CudaKvSegment scratch(CudaDevice device, CudaKvSegment.Shape shape) {
      return new CudaKvSegment(shape, memory(device, take(shape), shape), 0);
    }

    void discard(CudaDevice device, CudaKvSegment scratch) {
      device.freePooled(scratch.address());
      unreserve(size(scratch.shape));
    }

    private long take(CudaKvSegment.Shape shape) {
      long bytes = size(shape);
      lock.lock();
      try {
        if (reserved < bytes) {
          throw new IllegalStateException("%d bytes of %d that were reserved".formatted(bytes, reserved));
        }
        reserved -= bytes;
      } finally {
        lock.unlock();
      }
      return bytes;
    }

    private long memory(CudaDevice device, long bytes, CudaKvSegment.Shape shape) {
      try {
        return device.allocatePooled(bytes, shape.toString());
      } catch (RuntimeException e) {
        unreserve(bytes);
        throw e;
      }
    }

    /** Ends the use, once every holder has released it. */
    void release() {
      if (holders.decrementAndGet() > 0) {
        return;
      }
      lock.lock();
      try {
        items.forEach(residency::release);
        residency.unreserve(reserved);
        uses--;
        released.signalAll();
      } finally {
        lock.unlock();
      }
    }
  }

  /** Bytes of a segment, for {@link #use}. */
  static long size(CudaKvSegment.Shape shape) {
    return Math.max(16, shape.bytes());
  }

  /** Bytes on the device that are taken, those of segments that nobody can reach any more among them. */
  long used() {
    lock.lock();
    try {
      return residency.used();
    } finally {
      lock.unlock();
    }
  }

  /** Bytes in pinned memory of the host. */
  long hostUsed() {
    lock.lock();
    try {
      return residency.hostBytes();
    } finally {
      lock.unlock();
    }
  }

  /** Segments that were moved to the host so far. */
  long saved() {
    lock.lock();
    try {
      return residency.saved();
    } finally {
      lock.unlock();
    }
  }

  /** A segment over numbers in memory of the host, which must stay as they are; copied when it is first used. */
  CudaKvSegment readable(CudaKvSegment.Shape shape, long contentId, MemorySegment numbers) {
    Item item;
    lock.lock();
    try {
      item = residency.readable(numbers);
    } finally {
      lock.unlock();
    }
    return segment(shape, item, contentId);
  }

  private CudaKvSegment segment(CudaKvSegment.Shape shape, Item item, long contentId) {
    CudaKvSegment segment = new CudaKvSegment(shape, item, contentId);
    Queue<Item> queue = dead;
    CLEANER.register(segment, () -> queue.add(item));
    return segment;
  }

  /** A restored segment is no longer kept for the next who restores it. */
  void forget(CudaKvSegment segment) {
    Item item = segment.item();
    if (item != null) {
      lock.lock();
      try {
        residency.forget(item);
      } finally {
        lock.unlock();
      }
    }
  }

  /**
   * Brings segments to the device and keeps them there. Returns when their copies are under way.
   *
   * @param reserve bytes for segments that the call makes
   * @throws CudaException when segments in use, these and the reserve exceed the limit
   * @throws CancellationException when interrupted
   */
  Use use(Collection<CudaKvSegment> segments, long reserve) {
    Map<Item, CudaKvSegment> wanted = new LinkedHashMap<>();
    for (CudaKvSegment segment : segments) {
      if (segment.item() != null) {
        wanted.put(segment.item(), segment);
      }
    }
    List<Item> arriving = new ArrayList<>();
    List<CompletableFuture<Long>> expected = new ArrayList<>();
    Use use;
    interruptibly(lock::lockInterruptibly);
    try {
      Eviction last = claim(wanted.keySet(), reserve, arriving);
      if (last != null) {
        expected.add(last.done);
      }
      use = new Use(new ArrayList<>(wanted.keySet()), reserve);
      uses++;
      for (Map.Entry<Item, CudaKvSegment> entry : wanted.entrySet()) {
        Item item = entry.getKey();
        residency.keep(item, entry.getValue());
        if (item.arrival != null) {
          expected.add(item.arrival);
        } else {
          use.copy = Math.max(use.copy, item.copy());
        }
      }
    } finally {
      lock.unlock();
    }
    try {
      bring(arriving);
      for (CompletableFuture<Long> arrival : expected) {
        use.copy = Math.max(use.copy, await(arrival));
      }
      return use;
    } catch (RuntimeException | Error e) {
      use.release();
      throw e;
    }
  }

  /** Makes room, waiting for other calls and for the collector where that may help; returns the last eviction begun. */
  private @Nullable Eviction claim(Collection<Item> items, long reserve, List<Item> arriving) {
    if (closed) {
      throw new CudaException("The GPU was closed");
    }
    long all = items.stream().mapToLong(item -> item.bytes).sum() + reserve;
    if (all > residency.limit()) {
      throw full(all);
    }
    long until = System.nanoTime() + PATIENCE_NANOS;
    int collections = 0;
    Eviction last = null;
    List<Move> moves = new ArrayList<>();
    reclaim(moves);
    while (true) {
      boolean claimed = residency.claim(items, reserve, moves, arriving);
      last = evict(moves, last);
      if (claimed) {
        return last;
      }
      if (uses > 0 && System.nanoTime() < until) {
        interruptibly(() -> released.awaitNanos(COLLECTION_NANOS));
      } else if (collections++ < COLLECTIONS) {
        collect();
      } else {
        throw full(all);
      }
      if (closed) {
        throw new CudaException("The GPU was closed");
      }
      reclaim(moves);
    }
  }

  /**
   * A new segment, made by the thread of a device and in use until it is {@linkplain #settled settled}; its numbers are not
   * set. Does not wait for other calls.
   *
   * @throws CudaException when segments in use and this one together exceed the limit
   */
  CudaKvSegment allocate(CudaDevice device, CudaKvSegment.Shape shape, long contentId) {
    long bytes = size(shape);
    Eviction last = null;
    List<Move> moves = new ArrayList<>();
    lock.lock();
    try {
      reclaim(moves);
      int collections = 0;
      boolean reserved;
      do {
        reserved = residency.reserve(bytes, moves);
        last = evict(moves, last);
        if (!reserved) {
          if (collections++ == COLLECTIONS) {
            throw full(bytes);
          }
          collect();
          reclaim(moves);
        }
      } while (!reserved);
    } finally {
      lock.unlock();
    }
    try {
      if (last != null) {
        await(last.done);
      }
      long address = device.allocatePooled(bytes, shape.toString());
      lock.lock();
      try {
        return segment(shape, residency.created(bytes, address), contentId);
      } finally {
        lock.unlock();
      }
    } catch (RuntimeException | Error e) {
      unreserve(bytes);
      throw e;
    }
  }

  /** The numbers of a new segment are set. */
  void settled(CudaKvSegment segment) {
    Item item = segment.item();
    if (item != null) {
      lock.lock();
      try {
        residency.release(item);
      } finally {
        lock.unlock();
      }
    }
  }

  /** Refuses further uses and waits for those under way, which may be filling the host's memory. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      while (uses > 0) {
        released.awaitUninterruptibly();
      }
      residency.forgetAll();
    } finally {
      lock.unlock();
    }
  }

  private CudaException full(long bytes) {
    return new CudaException("Keys and values take %d bytes of device memory; %d that are needed do not fit beside those in "
        .formatted(residency.used(), bytes) + "use, the limit is %d".formatted(residency.limit()));
  }

  private void unreserve(long bytes) {
    lock.lock();
    try {
      residency.unreserve(bytes);
      released.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Gives back what nobody can reach. Holds the lock, like the following. */
  private void reclaim(List<Move> moves) {
    List<Item> later = new ArrayList<>();
    for (Item item = dead.poll(); item != null; item = dead.poll()) {
      if (!residency.remove(item, moves)) {
        later.add(item);
      }
    }
    dead.addAll(later);
  }

  /** The heap may be almost empty while the device is full: the collector does not know of that memory. */
  private void collect() {
    lock.unlock();
    try {
      System.gc();
    } finally {
      lock.lock();
    }
    interruptibly(() -> released.awaitNanos(COLLECTION_NANOS));
  }

  /** Begins moves, in their order; returns the last. */
  private @Nullable Eviction evict(List<Move> moves, @Nullable Eviction before) {
    Eviction last = before;
    for (Move move : moves) {
      last = new Eviction(move);
      copies.submit(last);
    }
    moves.clear();
    return last;
  }

  private void bring(List<Item> arriving) {
    int begun = 0;
    try {
      for (; begun < arriving.size(); begun++) {
        Item item = arriving.get(begun);
        if (item.staging() && item.source != null) {
          host.asSlice(item.host(), item.source.byteSize()).copyFrom(item.source);
        }
        copies.submit(new Arrival(item));
      }
    } catch (RuntimeException | Error e) {
      lock.lock();
      try {
        arriving.subList(begun, arriving.size()).forEach(item -> residency.failed(item, e));
      } finally {
        lock.unlock();
      }
      throw e;
    }
  }

  private static long await(CompletableFuture<Long> work) {
    try {
      return work.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waiting for the GPU");
    } catch (ExecutionException e) {
      throw e.getCause() instanceof CudaException failure ? failure
          : new CudaException("Keys and values could not be copied to the device: " + e.getCause());
    }
  }

  /** Something that waits. */
  private interface Waiting {
    void run() throws InterruptedException;
  }

  private static void interruptibly(Waiting work) {
    try {
      work.run();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waiting for the GPU");
    }
  }

  /** To the device. */
  private final class Arrival implements Copies.Copy {
    private final Item item;
    private long address;

    Arrival(Item item) {
      this.item = item;
    }

    @Override
    public void issue(CudaDevice device) {
      MemorySegment from = item.host() != HostRoom.NOWHERE ? host.asSlice(item.host(), item.bytes) : item.source;
      if (from == null) {
        throw new IllegalStateException("There is no copy to bring back");
      }
      address = device.allocatePooled(item.bytes, "keys and values");
      try {
        device.upload(address, from);
      } catch (RuntimeException e) {
        device.freePooled(address);
        throw e;
      }
    }

    @Override
    public void issued(long number) {
      lock.lock();
      try {
        item.address = address;
        residency.arrived(item, number);
      } finally {
        lock.unlock();
      }
    }

    @Override
    public void failed(Throwable reason) {
      lock.lock();
      try {
        residency.failed(item, reason);
        released.signalAll();
      } finally {
        lock.unlock();
      }
    }
  }

  /** Away from the device. */
  private final class Eviction implements Copies.Copy {
    private final Move move;
    private final CompletableFuture<Long> done = new CompletableFuture<>();

    Eviction(Move move) {
      this.move = move;
    }

    @Override
    public void issue(CudaDevice device) {
      if (move.host() != HostRoom.NOWHERE) {
        device.download(host.asSlice(move.host(), move.item().bytes), move.address());
      }
      device.freePooled(move.address());
    }

    @Override
    public void issued(long number) {
      lock.lock();
      try {
        if (move.host() != HostRoom.NOWHERE) {
          residency.moved(move.item(), number);
        }
      } finally {
        lock.unlock();
      }
      done.complete(number);
    }

    @Override
    public void failed(Throwable reason) {
      lock.lock();
      try {
        if (move.host() != HostRoom.NOWHERE) {
          residency.lose(move.item());
        }
      } finally {
        lock.unlock();
      }
      done.completeExceptionally(reason);
    }
  }
}
