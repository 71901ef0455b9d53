package dev.attune.llm.cuda;

import dev.attune.llm.cuda.Residency.Item;
import dev.attune.llm.cuda.Residency.Move;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * Carries out what {@link Residency} decided: moves away from the device, and arrivals, both put into the stream of
 * {@link Copies}; what comes from files is put into pinned memory first. Thread-safe.
 */
final class SegmentCopies implements AutoCloseable {

  /** Who is told what has become of moves and arrivals. */
  interface Accounts {

    /** The copy to the device is in the stream, with this number. */
    void arrived(Item item, long address, long number);

    /** The item could not be brought to the device. */
    void failed(Item item, Throwable reason);

    /** The copy to the host is in the stream, with this number. */
    void moved(Item item, long number);

    /** The copy to the host failed. */
    void lost(Item item);
  }

  private final Copies copies;
  /** Pinned. */
  private final MemorySegment host;
  private final HostFill fill = new HostFill(HostFill.THREADS);

  /** @param host pinned memory, which is only this one's; empty for none */
  SegmentCopies(Copies copies, MemorySegment host) {
    this.copies = copies;
    this.host = host;
  }

  long hostBytes() {
    return host.byteSize();
  }

  /** Number of the last copy that is known to have ended. */
  long completed() {
    return copies.completed();
  }

  /** Lets what follows in a device's stream wait for the copy of a number. */
  void await(CudaDevice device, long number) {
    copies.await(device, number);
  }

  /**
   * What was begun, by the number of its copy.
   *
   * @throws CudaException when it failed
   * @throws CancellationException when interrupted
   */
  static long await(CompletableFuture<Long> work) {
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

  /**
   * Begins moves, in their order.
   *
   * @return done when the last one is in the stream; null when there is none
   */
  @Nullable CompletableFuture<Long> evict(List<Move> moves, Accounts accounts) {
    Eviction last = null;
    for (Move move : moves) {
      last = new Eviction(move, accounts);
      copies.submit(last);
    }
    return last == null ? null : last.done;
  }

  /**
   * Begins arrivals. Returns when nothing is read from files any more; {@link Item#arrival} says when each is in the
   * stream.
   */
  void bring(List<Item> arriving, Accounts accounts) {
    List<HostFill.Part> parts = new ArrayList<>();
    for (Item item : arriving) {
      MemorySegment source = item.source();
      if (item.staging() && source != null) {
        parts.add(new HostFill.Part(source, host.asSlice(item.host(), source.byteSize()), failure -> {
          if (failure == null) {
            copies.submit(new Arrival(item, accounts));
          } else {
            accounts.failed(item, failure);
          }
        }));
      } else {
        copies.submit(new Arrival(item, accounts));
      }
    }
    fill.fill(parts);
  }

  /** To the device. */
  private final class Arrival implements Copies.Copy {
    private final Item item;
    private final Accounts accounts;
    private long address;

    Arrival(Item item, Accounts accounts) {
      this.item = item;
      this.accounts = accounts;
    }

    @Override
    public void issue(CudaDevice device) {
      MemorySegment from = item.host() != HostRoom.NOWHERE ? host.asSlice(item.host(), item.bytes) : item.source();
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
      accounts.arrived(item, address, number);
    }

    @Override
    public void failed(Throwable reason) {
      accounts.failed(item, reason);
    }
  }

  /** Away from the device. */
  private final class Eviction implements Copies.Copy {
    private final Move move;
    private final Accounts accounts;
    private final CompletableFuture<Long> done = new CompletableFuture<>();

    Eviction(Move move, Accounts accounts) {
      this.move = move;
      this.accounts = accounts;
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
      if (move.host() != HostRoom.NOWHERE) {
        accounts.moved(move.item(), number);
      }
      done.complete(number);
    }

    @Override
    public void failed(Throwable reason) {
      if (move.host() != HostRoom.NOWHERE) {
        accounts.lost(move.item());
      }
      done.completeExceptionally(reason);
    }
  }

  /** Ends its threads; those of {@link Copies} are its owner's. */
  @Override
  public void close() {
    fill.close();
  }
}
