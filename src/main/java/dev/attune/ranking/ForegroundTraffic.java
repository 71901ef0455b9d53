package dev.attune.ranking;

import java.time.Duration;

/** Lets background reading step aside while requests run. */
final class ForegroundTraffic {

  private int running;
  private long lastEnd = System.nanoTime();

  synchronized void begin() {
    running++;
  }

  synchronized void end() {
    running--;
    lastEnd = System.nanoTime();
    notifyAll();
  }

  /** Returns once no request has run for {@code quiet}. */
  synchronized void awaitQuiet(Duration quiet) throws InterruptedException {
    while (true) {
      long left = running > 0 ? 0 : lastEnd + quiet.toNanos() - System.nanoTime();
      if (running == 0 && left <= 0) {
        return;
      }
      // 0 waits for the end of a request.
      wait(running > 0 ? 0 : left / 1_000_000 + 1);
    }
  }
}
