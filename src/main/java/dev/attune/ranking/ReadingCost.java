package dev.attune.ranking;

/**
 * What reading and scoring cost on this machine, learned from every call: nanoseconds per token read, and per pair of
 * last-block token and context token. Exponentially weighted, so it follows the load.
 */
final class ReadingCost {

  private static final double NEWEST = 0.3;

  private double perToken;
  private double perPair;

  /** Seeds the cost of reading from a first measurement. */
  ReadingCost(double nanosPerToken) {
    this.perToken = nanosPerToken;
  }

  synchronized void read(long tokens, long nanos) {
    perToken += NEWEST * ((double) nanos / tokens - perToken);
  }

  synchronized void scored(int lastTokens, long contextTokens, long nanos) {
    double attention = Math.max(0, nanos - lastTokens * perToken) / ((double) lastTokens * contextTokens);
    perPair = perPair == 0 ? attention : perPair + NEWEST * (attention - perPair);
  }

  /** Expected nanoseconds to read a document. */
  synchronized double reading(int tokens) {
    return tokens * perToken;
  }

  /** Expected nanoseconds to run the last block over its context. */
  synchronized double scoring(int lastTokens, long contextTokens) {
    return lastTokens * (perToken + perPair * contextTokens);
  }

  synchronized double tokensPerSecond() {
    return 1e9 / perToken;
  }
}
