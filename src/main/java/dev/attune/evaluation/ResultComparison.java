package dev.attune.evaluation;

import dev.attune.evaluation.MeasuredResult.Row;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** A repetition beside the figures that are kept. */
final class ResultComparison {

  private static final List<String> SIZES = List.of("queries", "requests", "mentions", "lists");

  private ResultComparison() {}

  /** One line for everything that moved more than its tolerance, or cannot be compared; empty when all is as it was. */
  static List<String> differences(MeasuredResult kept, MeasuredResult repeated) {
    List<String> differences = new ArrayList<>();
    kept.data().forEach(
        (name, hash) -> {
          if (!hash.equals(repeated.data().get(name))) {
            differences.add("%s: the data of %s are others: %s, not %s"
                .formatted(kept.name(), name, repeated.data().get(name), hash));
          }
        });
    for (Row row : kept.rows()) {
      String name = kept.name() + " " + String.join(" ", row.keys().values());
      Row other = repeated.row(row.keys());
      if (other == null) {
        differences.add(name + ": is missing");
      } else {
        compare(name, row.figures(), other.figures(), kept.tolerances(), differences);
      }
    }
    return differences;
  }

  private static void compare(
      String name,
      Map<String, Double> kept,
      Map<String, Double> repeated,
      Map<String, Double> tolerances,
      List<String> differences) {
    for (String size : SIZES) {
      if (kept.containsKey(size) && !kept.get(size).equals(repeated.get(size))) {
        differences.add("%s: %s are %s, not %s".formatted(name, size, repeated.get(size), kept.get(size)));
        return;
      }
    }
    tolerances.forEach(
        (measure, tolerance) -> {
          Double before = kept.get(measure);
          Double now = repeated.get(measure);
          // Kept figures are rounded; the last digit is no difference.
          if (before != null && (now == null || !(Math.abs(now - before) <= tolerance + 1e-9))) {
            differences.add(
                now == null
                    ? name + ": " + Measures.title(measure) + " is missing"
                    : String.format(
                        Locale.ROOT,
                        "%s: %s moved from %s to %s, more than %s",
                        name,
                        Measures.title(measure),
                        Measures.text(measure, before),
                        Measures.text(measure, now),
                        tolerance));
          }
        });
  }
}
