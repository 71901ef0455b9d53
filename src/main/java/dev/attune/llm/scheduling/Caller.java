package dev.attune.llm.scheduling;

/**
 * Who asks.
 *
 * @param name of the one whose turn it is
 * @param background served while nobody else waits
 * @param deadline time of {@link System#nanoTime} after which nothing is begun
 */
record Caller(String name, boolean background, long deadline) {

  private static final long FAR = Long.MAX_VALUE / 4;

  /** Somebody outside of any request: command line tools and preparation. */
  static Caller unnamed() {
    return new Caller("", false, System.nanoTime() + FAR);
  }

  static Caller inBackground() {
    return new Caller("", true, System.nanoTime() + FAR);
  }

  boolean late(long now) {
    return deadline - now < 0;
  }
}
