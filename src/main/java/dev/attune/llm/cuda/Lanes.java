package dev.attune.llm.cuda;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Threads that serve the calls of one backend side by side, each with a stream of its own, so that one lays out its
 * pass while the device computes another's. The first that is free takes a task; tasks that find none wait in their
 * order.
 */
final class Lanes implements AutoCloseable {

  private final IntFunction<Lane> open;
  private final List<Worker> workers = new ArrayList<>();
  // Guarded by this.
  private final Deque<Task<?>> waiting = new ArrayDeque<>();
  private int running;
  private boolean closed;

  /** Work of a call. */
  final class Task<T> {
    private final Function<Lane, T> work;
    private final Runnable after;
    private final CompletableFuture<T> outcome = new CompletableFuture<>();
    // Guarded by this.
    private boolean cancelled;
    private @Nullable Thread runner;

    private Task(Function<Lane, T> work, Runnable after) {
      this.work = work;
      this.after = after;
    }

    /** Returns what is left to do: telling of the end. */
    private Runnable run(Worker worker) {
      boolean run;
      synchronized (this) {
        Thread.interrupted();
        run = !cancelled;
        runner = Thread.currentThread();
      }
      @Nullable T result = null;
      Throwable failure = null;
      try {
        if (run) {
          result = work.apply(worker.lane());
        } else {
          failure = new CancellationException("Cancelled before it began");
        }
      } catch (RuntimeException | Error e) {
        failure = e;
      }
      synchronized (this) {
        runner = null;
        Thread.interrupted();
      }
      T given = result;
      Throwable reason = failure;
      return () -> end(given, reason);
    }

    private void end(@Nullable T result, @Nullable Throwable failure) {
      // Whoever waits may rely on what comes after.
      after.run();
      if (failure == null) {
        outcome.complete(result);
      } else {
        outcome.completeExceptionally(failure);
      }
    }

    /** Takes it out, or interrupts it; what it uses stays in use until it has really ended. */
    synchronized void cancel() {
      cancelled = true;
      if (runner != null) {
        runner.interrupt();
      }
    }

    /**
     * What the work gave; its exception as it is.
     *
     * @throws CancellationException when interrupted
     */
    T await() {
      try {
        return outcome.get();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new CancellationException("Interrupted while waiting for the GPU");
      } catch (ExecutionException e) {
        switch (e.getCause()) {
          case RuntimeException cause -> throw cause;
          case Error cause -> throw cause;
          case null, default -> throw new IllegalStateException(e);
        }
      }
    }
  }

  private final class Worker implements Runnable {
    private final int index;
    private final Thread thread;
    private @Nullable Lane lane;
    // Guarded by Lanes.this.
    private @Nullable Task<?> task;
    private boolean started;

    Worker(int index, String name) {
      this.index = index;
      thread = new Thread(null, this, name, Nvrtc.STACK_BYTES);
      thread.setDaemon(true);
    }

    /** Opened by its thread when it is first needed. */
    Lane lane() {
      Lane opened = lane;
      if (opened == null) {
        opened = open.apply(index);
        lane = opened;
      }
      return opened;
    }

    @Override
    public void run() {
      for (Task<?> next = next(this); next != null; next = next(this)) {
        Runnable end = next.run(this);
        // Free before the end is told: who hands in one task after the other stays in one lane.
        free(this);
        end.run();
      }
      awaitOthers();
      Lane opened = lane;
      if (opened != null) {
        opened.close();
      }
    }
  }

  /**
   * Prepares threads; they start when they are first needed.
   *
   * @param open opens a lane for the calling thread
   */
  Lanes(String name, int count, IntFunction<Lane> open) {
    this.open = open;
    for (int i = 0; i < count; i++) {
      workers.add(new Worker(i, name + "-" + i));
    }
  }

  /** How many run at the same time. */
  int count() {
    return workers.size();
  }

  /**
   * Hands in work.
   *
   * @param after runs once the work has ended, however it did, also when it was cancelled before it began
   */
  <T> Task<T> submit(Function<Lane, T> work, Runnable after) {
    Task<T> task = new Task<>(work, after);
    boolean taken;
    synchronized (this) {
      taken = !closed;
      if (taken) {
        hand(task);
      }
    }
    if (!taken) {
      task.end(null, new CudaException("The GPU was closed"));
    }
    return task;
  }

  private void hand(Task<?> task) {
    for (Worker worker : workers) {
      if (worker.task == null) {
        worker.task = task;
        if (!worker.started) {
          worker.started = true;
          running++;
          worker.thread.start();
        }
        notifyAll();
        return;
      }
    }
    waiting.add(task);
  }

  private synchronized void free(Worker worker) {
    worker.task = waiting.poll();
  }

  /** The worker's next task, null when there will be none. */
  private synchronized @Nullable Task<?> next(Worker worker) {
    while (worker.task == null && !closed) {
      try {
        wait();
      } catch (InterruptedException e) {
        // Meant for a task that has ended.
      }
    }
    return worker.task;
  }

  /** A lane may own memory that the others' tasks use. */
  private synchronized void awaitOthers() {
    running--;
    notifyAll();
    while (running > 0) {
      try {
        wait();
      } catch (InterruptedException e) {
        // Nobody interrupts a thread without a task.
      }
    }
  }

  /** Ends when what was handed in has ended. */
  @Override
  public void close() {
    List<Thread> ending = new ArrayList<>();
    synchronized (this) {
      closed = true;
      notifyAll();
      workers.stream().filter(worker -> worker.started).forEach(worker -> ending.add(worker.thread));
    }
    ThreadEnd.await(ending);
  }
}
