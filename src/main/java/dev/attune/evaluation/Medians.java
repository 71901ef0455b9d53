package dev.attune.evaluation;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
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
    return median(inTurns(samples, List.of(work))[0]);
  }

  /**
   * Times works that are compared with each other in turns, so that a slow minute of the machine falls on all of them.
   *
   * @return milliseconds, {@code [work][sample]}
   */
  static double[][] inTurns(int samples, List<? extends Callable<?>> works) throws Exception {
    double[][] millis = new double[works.size()][samples];
    for (int sample = 0; sample < samples; sample++) {
      for (int i = 0; i < works.size(); i++) {
        long start = System.nanoTime();
        works.get(i).call();
        millis[i][sample] = (System.nanoTime() - start) / 1e6;
      }
    }
    return millis;
  }

  /** Runs the work, at least once, until the time has passed: the compiler needs seconds for the large kernels. */
  static void warmUp(Duration time, Callable<?> work) throws Exception {
    long end = System.nanoTime() + time.toNanos();
    do {
      work.call();
    } while (System.nanoTime() - end < 0);
  }
}
