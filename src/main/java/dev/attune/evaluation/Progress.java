package dev.attune.evaluation;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.Locale;

/** Says every quarter of a minute how far a long evaluation is, and how long it may still take. */
final class Progress {

  private static final long EVERY_NANOS = 15_000_000_000L;

  private final PrintWriter out;
  private String what = "";
  private int total;
  private int done;
  private long started;
  private long said;

  Progress(PrintWriter out) {
    this.out = out;
  }

  /**
   * Begins.
   *
   * @param total steps to do
   * @param all steps that there are; more than {@code total} when some were done before
   */
  void start(String name, int total, int all) {
    this.what = name;
    this.total = total;
    this.done = 0;
    this.started = System.nanoTime();
    this.said = started;
    if (total < all) {
      out.printf("%s: %,d of %,d are done already%n", name, all - total, all);
      out.flush();
    }
  }

  void step() {
    done++;
    long now = System.nanoTime();
    if (now - said >= EVERY_NANOS && done < total) {
      said = now;
      double each = (now - started) / 1e9 / done;
      Duration left = Duration.ofSeconds(Math.round(each * (total - done)));
      out.printf(
          Locale.ROOT,
          "%s: %,d of %,d, %.2f s each, about %d:%02d:%02d left%n",
          what,
          done,
          total,
          each,
          left.toHours(),
          left.toMinutesPart(),
          left.toSecondsPart());
      out.flush();
    }
  }
}
