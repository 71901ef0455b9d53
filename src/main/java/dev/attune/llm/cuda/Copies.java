package dev.attune.llm.cuda;

import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A stream for copies between device and host, with a thread that fills it in the order of submission, so that copies
 * run beside passes. Copies that were submitted together get one number; numbers ascend.
 */
final class Copies implements AutoCloseable {

  /** What is put into the stream. */
  interface Copy {

    /** Puts the work into the device's stream. */
    void issue(CudaDevice device);

    /** All of it is in the stream; it will have ended when the copy of this number has. */
    void issued(long number);

    /** It is not in the stream. */
    void failed(Throwable reason);
  }

  private final CudaDevice base;
  private final Queue<Copy> queue = new ConcurrentLinkedQueue<>();
  private final Thread thread;
  private volatile long completed;
  /** Recorded after the latest copies. */
  private volatile long event;
  // Guarded by this.
  private boolean started;
  /** Why no copy is taken any more, null while they are. */
  private @Nullable CudaException ended;

  /**
   * Prepares the stream; it is opened with the first copy.
   *
   * @param base device of the same process that stays open until this is closed
   */
  Copies(CudaDevice base) {
    this.base = base;
    thread = Thread.ofPlatform().daemon().name("attune-llm-cuda-copies").unstarted(this::loop);
  }

  /** Number of the last copy that has ended, and with it all before. */
  long completed() {
    return completed;
  }

  /** Has a copy put into the stream; it is told when it is, or why it is not. */
  void submit(Copy copy) {
    CudaException reason;
    synchronized (this) {
      reason = ended;
      if (reason == null) {
        if (!started) {
          started = true;
          thread.start();
        }
        queue.add(copy);
        LockSupport.unpark(thread);
      }
    }
    if (reason != null) {
      copy.failed(reason);
    }
  }

  /** Lets what follows in a device's stream wait for the copy of a number that was given out. */
  void await(CudaDevice device, long number) {
    if (number > completed) {
      // The event may have been recorded again since, which is later in the same stream.
      device.waitFor(event);
    }
  }

  private void loop() {
    try (CudaDevice device = new CudaDevice(base)) {
      event = device.event();
      serve(device);
    } catch (RuntimeException | Error e) {
      // Passes that wait for the event find out themselves.
      end(e instanceof CudaException failure ? failure : new CudaException("Copying keys and values failed: " + e));
      queue.forEach(copy -> copy.failed(e));
    }
  }

  /** Returns when it was closed and everything is done. */
  private void serve(CudaDevice device) {
    List<Copy> batch = new ArrayList<>();
    while (true) {
      batch.clear();
      for (Copy copy = queue.poll(); copy != null; copy = queue.poll()) {
        batch.add(copy);
      }
      if (batch.isEmpty()) {
        synchronized (this) {
          if (!queue.isEmpty()) {
            continue;
          }
          if (ended != null) {
            return;
          }
        }
        LockSupport.park(this);
      } else {
        run(device, batch);
      }
    }
  }

  /** @throws CudaException when the device is lost: copies are then never taken for ended */
  private void run(CudaDevice device, List<Copy> batch) {
    List<Copy> issued = new ArrayList<>();
    for (Copy copy : batch) {
      try {
        copy.issue(device);
        issued.add(copy);
      } catch (RuntimeException | Error e) {
        copy.failed(e);
      }
    }
    long number = completed + 1;
    try {
      device.record(event);
    } catch (RuntimeException e) {
      issued.forEach(copy -> copy.failed(e));
      throw e;
    }
    issued.forEach(copy -> copy.issued(number));
    device.synchronize("Copying keys and values");
    completed = number;
  }

  private synchronized void end(CudaException reason) {
    if (ended == null) {
      ended = reason;
    }
  }

  /** Waits for what was submitted. */
  @Override
  public void close() {
    end(new CudaException("The GPU was closed"));
    LockSupport.unpark(thread);
    ThreadEnd.await(List.of(thread));
  }
}
