package dev.attune.searchlog;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Stores items of many threads, one transaction at a time: whoever comes while one runs waits, and the first of those
 * who wait stores what all of them brought. Thread-safe.
 */
final class GroupCommit<T> {

  /** Keeps a transaction, which others wait for, short. */
  private static final int MOST = 64;

  private final Consumer<List<T>> store;
  private final ConcurrentLinkedQueue<Waiting<T>> waiting = new ConcurrentLinkedQueue<>();
  private final ReentrantLock turn = new ReentrantLock(true);
  /** Whether the thread that stores was interrupted meanwhile. Guarded by the turn. */
  private boolean interrupted;

  /** @param store stores all items or, when it throws, none of them */
  GroupCommit(Consumer<List<T>> store) {
    this.store = store;
  }

  /**
   * Stores an item; it is committed when the call returns.
   *
   * @throws RuntimeException what storing this item alone throws
   */
  void store(T item) {
    Waiting<T> mine = new Waiting<>(item);
    waiting.add(mine);
    turn.lock();
    try {
      while (!mine.settled()) {
        storeWaiting();
      }
    } finally {
      if (interrupted) {
        interrupted = false;
        Thread.currentThread().interrupt();
      }
      turn.unlock();
    }
    if (mine.failure != null) {
      throw mine.failure;
    }
  }

  /** Items that nobody has begun to store. */
  int waiting() {
    return waiting.size();
  }

  private void storeWaiting() {
    List<Waiting<T>> group = new ArrayList<>();
    Waiting<T> next;
    while (group.size() < MOST && (next = waiting.poll()) != null) {
      group.add(next);
    }
    try {
      storeAll(group);
    } catch (Error e) {
      group.stream().filter(w -> !w.settled())
          .forEach(w -> w.failure = new IllegalStateException("Storing ended in an error", e));
      throw e;
    }
  }

  private void storeAll(List<Waiting<T>> group) {
    // It would close the connection of a virtual thread, and is not meant for what others brought.
    interrupted |= Thread.interrupted();
    try {
      store.accept(group.stream().map(w -> w.item).toList());
      group.forEach(w -> w.stored = true);
    } catch (RuntimeException e) {
      if (group.size() == 1) {
        group.getFirst().failure = e;
      } else {
        // One of them may be at fault, or none: each is told of its own.
        group.forEach(one -> storeAll(List.of(one)));
      }
    }
  }

  /** Guarded by the turn. */
  private static final class Waiting<T> {
    final T item;
    boolean stored;
    @Nullable RuntimeException failure;

    Waiting(T item) {
      this.item = item;
    }

    boolean settled() {
      return stored || failure != null;
    }
  }
}
