package dev.attune.llm.cuda;

import java.util.List;

/**
 * Waits for threads that were told to end: what they use is given back next, so an interrupt cannot cut the wait short.
 */
final class ThreadEnd {

  private ThreadEnd() {}

  /** Returns when all have ended; an interrupt is there again afterwards. */
  static void await(List<Thread> threads) {
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
