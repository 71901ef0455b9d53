package dev.attune.background;

import java.time.Duration;

/**
 * Lets background work step aside while somebody waits for an answer. The start of the service counts as a request:
 * what may wait does not make the start longer. Thread-safe.
 */
public final class ForegroundTraffic {

  private int running;
  private long lastEnd = System.nanoTime();
  private boolean starting;

  /** A request begins; every call needs an {@link #end} of its own. */
  public synchronized void begin() {
    running++;
  }

  /** A request has ended. */
  public synchronized void end() {
    running--;
    lastEnd = System.nanoTime();
    notifyAll();
  }

  /** The service starts; nothing in the background may run before {@link #started}. */
  synchronized void starting() {
    starting = true;
  }

  synchronized void started() {
    starting = false;
    notifyAll();
  }

  /** Returns once no request has run for {@code quiet}. */
  public void awaitQuiet(Duration quiet) throws InterruptedException {
    awaitQuiet(quiet, Duration.ofDays(365));
  }

  /**
   * Returns once no request has run for {@code quiet}, or after {@code patience}: a service that is never quiet gets
   * its background work done too, though slowly.
   */
  public synchronized void awaitQuiet(Duration quiet, Duration patience) throws InterruptedException {
    while (starting) {
      wait();
    }
    long deadline = System.nanoTime() + patience.toNanos();
    while (true) {
      long now = System.nanoTime();
      long left = running > 0 ? deadline - now : Math.min(deadline - now, lastEnd + quiet.toNanos() - now);
      if (left <= 0) {
        return;
      }
      wait(left / 1_000_000 + 1);
    }
  }
}
