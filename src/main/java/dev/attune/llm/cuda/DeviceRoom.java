package dev.attune.llm.cuda;

import dev.attune.llm.cuda.Residency.Item;
import dev.attune.llm.cuda.Residency.Move;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Room for segments on the device: guards the {@link Residency}, waits for other calls and for the collector where that
 * may help, and has what it decides carried out. Thread-safe.
 */
final class DeviceRoom implements SegmentCopies.Accounts {

  /** How often the collector is asked for segments that nobody can reach, and how long it may take each time. */
  private static final int COLLECTIONS = 20;
  private static final long COLLECTION_NANOS = TimeUnit.MILLISECONDS.toNanos(10);
  /** Others may have let go of segments that only the collector finds: how long a call waits until it asks again. */
  private static final long BETWEEN_COLLECTIONS_NANOS = TimeUnit.MILLISECONDS.toNanos(200);
  /** How long a call waits for others to end their use of the device's memory. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(2);

  private final SegmentCopies copies;
  /** Items of segments that nobody can reach. */
  private final Queue<Item> dead = new ConcurrentLinkedQueue<>();
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition released = lock.newCondition();
  // Guarded by lock.
  private final Residency residency;
  private int uses;
  private boolean closed;

  /** @param limit bytes on the device */
  DeviceRoom(long limit, SegmentCopies copies) {
    this.copies = copies;
    residency = new Residency(limit, copies.hostBytes(), copies::completed);
  }

  /**
   * What a call got.
   *
   * @param arriving what it has to {@linkplain SegmentCopies#bring bring}
   * @param expected what has to be in the stream before the call goes on
   * @param copy number of the last copy of what is on the device already
   */
  record Claimed(List<Item> arriving, List<CompletableFuture<Long>> expected, long copy) {}

  private <T> T locked(Supplier<T> work) {
    lock.lock();
    try {
      return work.get();
    } finally {
      lock.unlock();
    }
  }

  private void locked(Runnable work) {
    lock.lock();
    try {
      work.run();
    } finally {
      lock.unlock();
    }
  }

  /** Bytes on the device that are taken, those of segments that nobody can reach any more among them. */
  long used() {
    return locked(residency::used);
  }

  /** Most bytes on the device and in pinned memory of the host. */
  long limit() {
    return residency.limit() + copies.hostBytes();
  }

  /** Bytes in pinned memory of the host. */
  long hostUsed() {
    return locked(residency::hostBytes);
  }

  /** Segments that were moved to the host so far. */
  long saved() {
    return locked(residency::saved);
  }

  /** Something that can be read when it is needed. */
  Item readable(MemorySegment source) {
    return locked(() -> residency.readable(source));
  }

  /** The numbers of a segment can be read from now on. */
  void stored(Item item, MemorySegment source, CudaKvSegment segment) {
    locked(() -> residency.stored(item, source, segment));
  }

  /** Ends keeping what was read for the next who restores it. */
  void forget(Item item) {
    locked(() -> residency.forget(item));
  }

  /** Nobody can reach the segment of an item any more. */
  void abandoned(Item item) {
    dead.add(item);
  }

  /**
   * Takes segments into use, and bytes beside, which are to be {@linkplain #release released}.
   *
   * @param wanted items and their segments
   * @throws CudaException when segments in use, these and the reserve exceed the limit
   * @throws CancellationException when interrupted
   */
  Claimed claim(Map<Item, CudaKvSegment> wanted, long reserve) {
    List<Item> arriving = new ArrayList<>();
    List<CompletableFuture<Long>> expected = new ArrayList<>();
    interruptibly(lock::lockInterruptibly);
    try {
      CompletableFuture<Long> made = await(wanted, reserve, arriving);
      if (made != null) {
        expected.add(made);
      }
      uses++;
      long copy = 0;
      for (Map.Entry<Item, CudaKvSegment> entry : wanted.entrySet()) {
        Item item = entry.getKey();
        residency.keep(item, entry.getValue());
        if (item.arrival != null) {
          expected.add(item.arrival);
        } else {
          copy = Math.max(copy, item.copy());
        }
      }
      return new Claimed(arriving, expected, copy);
    } finally {
      lock.unlock();
    }
  }

  /** Makes room, waiting where that may help; returns the last move begun. */
  private @Nullable CompletableFuture<Long> await(Map<Item, CudaKvSegment> wanted, long reserve, List<Item> arriving) {
    if (closed) {
      throw new CudaException("The GPU was closed");
    }
    long all = wanted.keySet().stream().mapToLong(item -> item.bytes).sum() + reserve;
    if (all > residency.limit()) {
      throw full(all);
    }
    long until = System.nanoTime() + PATIENCE_NANOS;
    int collections = 0;
    long collect = System.nanoTime() + COLLECTION_NANOS;
    CompletableFuture<Long> last = null;
    List<Move> moves = new ArrayList<>();
    reclaim(moves);
    while (true) {
      // What was reclaimed has to go, also when the claim fails.
      last = begin(moves, last);
      boolean claimed = residency.claim(wanted.keySet(), reserve, moves, arriving);
      last = begin(moves, last);
      if (claimed) {
        return last;
      }
      long now = System.nanoTime();
      boolean patient = uses > 0 && now - until < 0;
      if (patient && now - collect < 0) {
        interruptibly(() -> released.awaitNanos(COLLECTION_NANOS));
      } else if (patient || collections++ < COLLECTIONS) {
        collect = now + BETWEEN_COLLECTIONS_NANOS;
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
   * Takes bytes for a segment. Does not wait for other calls, but until the bytes are there.
   *
   * @throws CudaException when segments in use and this one together exceed the limit
   */
  void reserve(long bytes) {
    CompletableFuture<Long> made = locked(() -> {
      CompletableFuture<Long> last = null;
      List<Move> moves = new ArrayList<>();
      reclaim(moves);
      int collections = 0;
      while (true) {
        last = begin(moves, last);
        boolean reserved = residency.reserve(bytes, moves);
        last = begin(moves, last);
        if (reserved) {
          return last;
        }
        if (collections++ == COLLECTIONS) {
          throw full(bytes);
        }
        collect();
        reclaim(moves);
      }
    });
    if (made != null) {
      try {
        SegmentCopies.await(made);
      } catch (RuntimeException | Error e) {
        unreserve(bytes);
        throw e;
      }
    }
  }

  /** A new item out of what was reserved; in use. */
  Item created(long bytes, long address) {
    return locked(() -> residency.created(bytes, address));
  }

  /** Gives back what was reserved and did not become a segment. */
  void unreserve(long bytes) {
    locked(() -> {
      residency.unreserve(bytes);
      released.signalAll();
    });
  }

  /** Ends the use of an item that was {@linkplain #created created} outside of a call. */
  void settled(Item item) {
    locked(() -> residency.release(item));
  }

  /** Ends what a {@linkplain #claim claim} began. */
  void release(List<Item> items, long reserved) {
    locked(() -> {
      items.forEach(residency::release);
      residency.unreserve(reserved);
      uses--;
      released.signalAll();
    });
  }

  /** Refuses further uses and waits for those under way, which may be filling the host's memory. */
  void close() {
    locked(() -> {
      closed = true;
      while (uses > 0) {
        released.awaitUninterruptibly();
      }
      residency.forgetAll();
    });
  }

  private CudaException full(long bytes) {
    return new CudaException(("Keys and values take %d bytes of device memory; %d that are needed do not fit beside "
        + "those in use, the limit is %d").formatted(residency.used(), bytes, residency.limit()));
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

  /** Moves begin in the order in which they were decided on. */
  private @Nullable CompletableFuture<Long> begin(List<Move> moves, @Nullable CompletableFuture<Long> before) {
    CompletableFuture<Long> last = copies.evict(moves, this);
    moves.clear();
    return last == null ? before : last;
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

  @Override
  public void arrived(Item item, long address, long number) {
    locked(() -> {
      item.address = address;
      residency.arrived(item, number);
    });
  }

  @Override
  public void failed(Item item, Throwable reason) {
    locked(() -> {
      residency.failed(item, reason);
      released.signalAll();
    });
  }

  @Override
  public void moved(Item item, long number) {
    locked(() -> residency.moved(item, number));
  }

  @Override
  public void lost(Item item) {
    locked(() -> residency.lose(item));
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
}
