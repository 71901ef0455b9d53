package dev.attune.llm.generation;

/** The next-token distribution of one sequence, read from the most probable token down. */
final class NextTokens {

  private final float[] logits;
  /** Natural logarithm of the sum of e^logit. */
  private final double logTotal;
  /** Max-heap; in each number the logit, made comparable, above the complement of the token id. */
  private final long[] heap;
  private int size;

  NextTokens(float[] logits) {
    this.logits = logits;
    float max = Float.NEGATIVE_INFINITY;
    for (float logit : logits) {
      max = Math.max(max, logit);
    }
    double total = 0;
    for (float logit : logits) {
      total += Math.exp(logit - max);
    }
    logTotal = max + Math.log(total);
    size = logits.length;
    heap = new long[size];
    for (int i = 0; i < size; i++) {
      heap[i] = (long) comparable(logits[i]) << 32 | ~i & 0xffffffffL;
    }
    for (int i = size / 2 - 1; i >= 0; i--) {
      sink(i);
    }
  }

  /** Takes the most probable token that is left, the lower id first among equals; -1 when none is. */
  int poll() {
    if (size == 0) {
      return -1;
    }
    int token = ~(int) heap[0];
    heap[0] = heap[--size];
    sink(0);
    return token;
  }

  double logProbability(int token) {
    return logits[token] - logTotal;
  }

  private void sink(int i) {
    long value = heap[i];
    int child;
    while ((child = 2 * i + 1) < size) {
      if (child + 1 < size && heap[child + 1] > heap[child]) {
        child++;
      }
      if (heap[child] <= value) {
        break;
      }
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = value;
  }

  /** An int that orders like the float. */
  private static int comparable(float value) {
    int bits = Float.floatToIntBits(value);
    return bits ^ bits >> 31 & 0x7fffffff;
  }
}
