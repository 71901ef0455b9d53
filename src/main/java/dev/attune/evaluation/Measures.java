package dev.attune.evaluation;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** How measures are called and written, for tables of all kinds. */
final class Measures {

  /** A heading, the digits after the point, and whether a plus sign is written. */
  private record Style(String title, int digits, boolean signed) {}

  private static final Map<String, Style> STYLES = new LinkedHashMap<>();

  static {
    style("queries", "queries", 0);
    style("requests", "requests", 0);
    style("mentions", "mentions", 0);
    style("lists", "lists", 0);
    style("ndcg10", "nDCG@10", 4);
    style("low", "95 % from", 3);
    style("high", "to", 3);
    style("mrr10", "MRR@10", 4);
    style("mrr", "MRR", 4);
    style("mrr5", "MRR@5", 4);
    style("recall100", "Recall@100", 4);
    STYLES.put("difference", new Style("difference", 4, true));
    STYLES.put("relative", new Style("relative, %", 1, true));
    style("p", "p", 4);
    style("ms", "ms", 1);
    style("p50ms", "p50 ms", 3);
    style("p99ms", "p99 ms", 3);
    style("candidate_recall", "candidate recall", 3);
    style("precision", "precision", 3);
    style("recall", "recall", 3);
    style("f1", "F1", 3);
    style("in_kb", "in KB", 0);
    style("f1_all", "F1 over all", 3);
    style("success5", "Success@5", 4);
    style("entity5", "entity match@5", 4);
    style("valid", "valid", 3);
    style("distinct", "distinct", 3);
    style("suggestions", "suggestions", 2);
  }

  private Measures() {}

  private static void style(String measure, String title, int digits) {
    STYLES.put(measure, new Style(title, digits, false));
  }

  private static Style of(String measure) {
    return STYLES.getOrDefault(measure, new Style(measure.replace('_', ' '), 4, false));
  }

  static String title(String measure) {
    return of(measure).title;
  }

  static String text(String measure, double value) {
    Style style = of(measure);
    return String.format(Locale.ROOT, (style.signed ? "%+." : "%.") + style.digits + "f", value);
  }

  /** The value as it is kept: an integer for counts. */
  static Number rounded(String measure, double value) {
    BigDecimal rounded = BigDecimal.valueOf(value).setScale(of(measure).digits, RoundingMode.HALF_EVEN);
    return rounded.scale() == 0 ? (Number) rounded.longValue() : rounded.doubleValue();
  }
}
