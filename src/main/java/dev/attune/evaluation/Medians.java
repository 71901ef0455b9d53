package dev.attune.evaluation;

import java.util.Arrays;
import java.util.concurrent.Callable;

/** Medians of repeated measurements. */
final class Medians {

  private Medians() {}

  static double median(double[] values) {
    if (values.length == 0) {
      return Double.NaN;
    }
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** Runs the work a few times without and then {@code samples} times with a clock; median milliseconds. */
  static double millis(int warmUps, int samples, Callable<?> work) throws Exception {
    for (int i = 0; i < warmUps; i++) {
      work.call();
    }
    double[] millis = new double[samples];
    for (int i = 0; i < samples; i++) {
      long start = System.nanoTime();
      work.call();
      millis[i] = (System.nanoTime() - start) / 1e6;
    }
    return median(millis);
  }
}
