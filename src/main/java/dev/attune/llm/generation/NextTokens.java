package dev.attune.llm.generation;

import dev.attune.llm.cpu.Softmax;
import java.util.Arrays;

/**
 * The next-token distribution of one sequence, read from the most probable token down. Most steps need a few tokens,
 * which one look at all logits finds; a grammar may ask for thousands.
 */
final class NextTokens {

  /** Tokens found at once at first, and so many times more whenever those did not do. */
  private static final int FEW = 64;

  private final float[] logits;
  /** Natural logarithm of the sum of e^logit. */
  private final double logTotal;
  /** Ascending; in each number the logit, made comparable, above the complement of the token id. */
  private long[] known;
  /** Those that are left of {@link #known}. */
  private int left;
  /** Tokens that are neither known nor were. */
  private int unseen;

  NextTokens(float[] logits) {
    this.logits = logits;
    logTotal = Softmax.logSum(logits);
    unseen = logits.length;
    known = best(FEW, Long.MAX_VALUE);
  }

  /**
   * The largest below a number, at most {@code count} of those unseen: in a heap whose smallest is first, then sorted.
   */
  private long[] best(int count, long below) {
    long[] heap = new long[Math.min(count, unseen)];
    int size = 0;
    for (int i = 0; i < logits.length; i++) {
      long key = key(i);
      if (key >= below) {
        continue;
      }
      if (size < heap.length) {
        heap[size++] = key;
        for (int j = size / 2 - 1; size == heap.length && j >= 0; j--) {
          sink(heap, j);
        }
      } else if (key > heap[0]) {
        heap[0] = key;
        sink(heap, 0);
      }
    }
    Arrays.sort(heap);
    left = heap.length;
    unseen -= heap.length;
    return heap;
  }

  private static void sink(long[] heap, int at) {
    int i = at;
    long value = heap[i];
    int child;
    while ((child = 2 * i + 1) < heap.length) {
      if (child + 1 < heap.length && heap[child + 1] < heap[child]) {
        child++;
      }
      if (heap[child] >= value) {
        break;
      }
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = value;
  }

  /** Takes the most probable token that is left, the lower id first among equals; -1 when none is. */
  int poll() {
    if (left == 0 && unseen > 0) {
      known = best((int) Math.min(unseen, (long) FEW * known.length), known[0]);
    }
    return left == 0 ? -1 : ~(int) known[--left];
  }

  double logProbability(int token) {
    return logits[token] - logTotal;
  }

  private long key(int token) {
    int bits = Float.floatToIntBits(logits[token]);
    // An int that orders like the float.
    return (long) (bits ^ bits >> 31 & 0x7fffffff) << 32 | ~token & 0xffffffffL;
  }
}
