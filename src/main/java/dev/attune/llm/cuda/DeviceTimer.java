package dev.attune.llm.cuda;

import dev.attune.llm.cuda.GpuBenchmark.Result;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Times work on the device between events, the cache flushed before each sample, and notes medians. */
final class DeviceTimer {

  private static final long FLUSH_BYTES = 256L << 20;

  private final PrintWriter out;
  private final CudaDevice device;
  private final long flush;
  private final long start;
  private final long end;
  private final List<Result> results = new ArrayList<>();

  DeviceTimer(CudaDevice device, PrintWriter out) {
    this.device = device;
    this.out = out;
    flush = device.allocate(FLUSH_BYTES, "flushing the cache");
    start = device.event();
    end = device.event();
  }

  /** What was noted so far. */
  List<Result> results() {
    return List.copyOf(results);
  }

  /** Device milliseconds of each run. */
  double[] sample(int samples, Runnable work) {
    for (int i = 0; i < 3; i++) {
      work.run();
    }
    double[] times = new double[samples];
    for (int i = 0; i < samples; i++) {
      device.fill(flush, i, FLUSH_BYTES);
      device.synchronize("Flushing the cache");
      device.record(start);
      work.run();
      device.record(end);
      times[i] = device.elapsed(start, end);
    }
    return times;
  }

  /** Median and 90th percentile of some times, kept and printed. */
  void note(String shape, String what, int documents, double[] times, String note) {
    double[] sorted = times.clone();
    Arrays.sort(sorted);
    Result result = new Result(shape, what, documents, sorted[sorted.length / 2],
        sorted[Math.min(sorted.length - 1, (int) Math.ceil(0.9 * sorted.length) - 1)], sorted.length, note);
    results.add(result);
    out.printf(Locale.ROOT, "%-7s %-14s N=%-4d median %.4f ms  p90 %.4f ms  n=%d  %s%n", shape, what, documents,
        result.median(), result.p90(), result.samples(), note);
    out.flush();
  }

  static double median(double[] times) {
    double[] sorted = times.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }
}
