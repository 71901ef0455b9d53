package dev.attune.llm.cuda;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Copies from mapped files into memory of the host by the calling thread and a few others: most of the time goes into
 * page faults, which threads have side by side. Thread-safe.
 */
final class HostFill implements AutoCloseable {

  /** Threads that copy for one call, it among them; a first choice, since more share the memory's bandwidth. */
  static final int THREADS = Math.min(4, Runtime.getRuntime().availableProcessors());
  /** What a thread takes at a time; most documents are one or two. */
  private static final long PIECE_BYTES = 1 << 20;

  private final int threads;
  private final ExecutorService helpers;

  /** @param threads that copy for one call, itself among them; the others start when they are first needed */
  HostFill(int threads) {
    this.threads = threads;
    helpers = Executors.newFixedThreadPool(
        Math.max(1, threads - 1), Thread.ofPlatform().daemon().name("attune-llm-cuda-fill-", 0).factory());
  }

  /**
   * Memory to fill.
   *
   * @param from as long as {@code to}
   * @param done told once, by one of the threads, when nobody writes any more: null, or why it was not filled
   */
  record Part(MemorySegment from, MemorySegment to, Consumer<@Nullable Throwable> done) {}

  /** A part under way. */
  private static final class Filling {
    final Part part;
    final AtomicInteger left;
    private volatile @Nullable Throwable failure;

    Filling(Part part, int pieces) {
      this.part = part;
      left = new AtomicInteger(pieces);
    }

    void copy(long at) {
      try {
        long bytes = Math.min(PIECE_BYTES, part.to.byteSize() - at);
        part.to.asSlice(at, bytes).copyFrom(part.from.asSlice(at, bytes));
      } catch (RuntimeException | Error e) {
        failure = e;
      }
      if (left.decrementAndGet() == 0) {
        part.done.accept(failure);
      }
    }
  }

  private record Piece(Filling filling, long at) {}

  /** All that one call fills. */
  private static final class Job implements Runnable {
    private final List<Piece> pieces;
    private final AtomicInteger next = new AtomicInteger();
    private final AtomicInteger left;
    final CompletableFuture<@Nullable Void> done = new CompletableFuture<>();

    Job(List<Piece> pieces) {
      this.pieces = pieces;
      left = new AtomicInteger(pieces.size());
    }

    @Override
    public void run() {
      for (int i = next.getAndIncrement(); i < pieces.size(); i = next.getAndIncrement()) {
        try {
          pieces.get(i).filling.copy(pieces.get(i).at);
        } finally {
          if (left.decrementAndGet() == 0) {
            done.complete(null);
          }
        }
      }
    }
  }

  /** Fills in the order of the list and returns when every part has been told, also when interrupted. */
  void fill(List<Part> parts) {
    List<Piece> pieces = new ArrayList<>();
    for (Part part : parts) {
      int count = Math.max(1, Math.toIntExact((part.to.byteSize() + PIECE_BYTES - 1) / PIECE_BYTES));
      Filling filling = new Filling(part, count);
      for (int i = 0; i < count; i++) {
        pieces.add(new Piece(filling, i * PIECE_BYTES));
      }
    }
    if (pieces.isEmpty()) {
      return;
    }
    Job job = new Job(pieces);
    try {
      for (int i = 1; i < Math.min(threads, pieces.size()); i++) {
        helpers.execute(job);
      }
    } catch (RejectedExecutionException | OutOfMemoryError e) {
      // No more threads: with those there are, or alone.
    }
    job.run();
    job.done.join();
  }

  /** Ends the threads; nothing is filled any more. */
  @Override
  public void close() {
    helpers.shutdown();
  }
}
