package dev.attune.llm.cpu;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A fixed number of threads that share out the tasks of one parallel loop at a time. A transformer step is hundreds of
 * loops of some 10–1000 µs, and waking a parked thread takes as long as one of them: helpers therefore wait awake,
 * giving way to whoever else wants their core, until no loop has come for {@link #AWAKE_NANOS}, and then park.
 */
final class WorkerPool implements AutoCloseable {

  /** Body of a parallel loop. */
  @FunctionalInterface
  interface Task {
    /**
     * Runs one iteration.
     *
     * @param index of the iteration
     * @param worker index of the thread that runs it, below {@link WorkerPool#threads()}: the key of scratch memory
     */
    void run(int index, int worker);
  }

  /** Polls between two looks at the clock, each of which lets another thread have the core. */
  private static final int SPINS = 400;
  /** Longer than what lies between two loops of a forward pass, and than choosing a token between two passes. */
  private static final long AWAKE_NANOS = 2_000_000;

  private static final class Loop {
    final int tasks;
    final Task body;
    final AtomicInteger next = new AtomicInteger();
    final AtomicInteger finished = new AtomicInteger();
    final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

    Loop(int tasks, Task body) {
      this.tasks = tasks;
      this.body = body;
    }

    void work(int worker) {
      int task;
      while ((task = next.getAndIncrement()) < tasks) {
        try {
          if (failure.get() == null) {
            body.run(task, worker);
          }
        } catch (RuntimeException | Error e) {
          failure.compareAndSet(null, e);
        } finally {
          finished.incrementAndGet();
        }
      }
    }
  }

  private final Helper[] helpers;
  private volatile @Nullable Loop current;
  private volatile boolean closed;

  /** Starts {@code threads - 1} helpers; the calling thread of a loop is the remaining one. */
  WorkerPool(int threads) {
    helpers = new Helper[threads - 1];
    for (int i = 0; i < helpers.length; i++) {
      helpers[i] = new Helper(i + 1);
      helpers[i].thread.start();
    }
  }

  int threads() {
    return helpers.length + 1;
  }

  /**
   * Runs {@code body} for 0 … {@code tasks - 1}, each once, in any order, and returns when all are done. Only one
   * thread may call this at a time.
   */
  void forEach(int tasks, Task body) {
    Loop loop = new Loop(tasks, body);
    if (tasks > 1) {
      current = loop;
      for (Helper helper : helpers) {
        helper.wake();
      }
    }
    loop.work(0);
    for (int spins = 1; loop.finished.get() < tasks; spins++) {
      pause(spins);
    }
    current = null;
    Throwable failure = loop.failure.get();
    if (failure instanceof Error e) {
      throw e;
    }
    if (failure instanceof RuntimeException e) {
      throw e;
    }
  }

  @Override
  public void close() {
    closed = true;
    for (Helper helper : helpers) {
      helper.wake();
    }
  }

  private static void pause(int spins) {
    if (spins % SPINS == 0) {
      Thread.yield();
    } else {
      Thread.onSpinWait();
    }
  }

  private final class Helper implements Runnable {
    private final int worker;
    private final Thread thread;
    private final AtomicBoolean parked = new AtomicBoolean();

    Helper(int worker) {
      this.worker = worker;
      this.thread = Thread.ofPlatform().daemon().name("attune-llm-" + worker).unstarted(this);
    }

    void wake() {
      if (parked.get()) {
        LockSupport.unpark(thread);
      }
    }

    @Override
    public void run() {
      Loop done = null;
      int spins = 0;
      long idleSince = System.nanoTime();
      while (!closed) {
        Loop loop = current;
        if (loop != null && loop != done) {
          loop.work(worker);
          done = loop;
          spins = 0;
          idleSince = System.nanoTime();
        } else if (++spins % SPINS != 0 || System.nanoTime() - idleSince < AWAKE_NANOS) {
          pause(spins);
        } else {
          parked.set(true);
          // Published after the flag was set: either we see the loop here or its caller sees the flag.
          loop = current;
          if ((loop == null || loop == done) && !closed) {
            LockSupport.park(this);
          }
          parked.set(false);
          spins = 0;
          idleSince = System.nanoTime();
        }
      }
    }
  }
}
