package dev.attune.evaluation;

import dev.attune.evaluation.MeasuredResult.Row;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Markdown of measured results, and its place in a document. */
final class ResultTable {

  private static final Pattern PLACE =
      Pattern.compile("<!-- result: ([\\w-]+) -->\\R(.*?)<!-- end of result -->", Pattern.DOTALL);

  private ResultTable() {}

  /** The table alone. */
  static String markdown(List<String> keys, List<String> measures, List<Row> rows) {
    List<List<String>> cells = new ArrayList<>();
    List<String> head = new ArrayList<>(keys);
    measures.forEach(measure -> head.add(Measures.title(measure)));
    cells.add(head);
    List<String> rule = new ArrayList<>(Collections.nCopies(keys.size(), "---"));
    rule.addAll(Collections.nCopies(measures.size(), "---:"));
    cells.add(rule);
    for (Row row : rows) {
      List<String> line = new ArrayList<>();
      keys.forEach(key -> line.add(row.keys().getOrDefault(key, "")));
      for (String measure : measures) {
        Double value = row.figures().get(measure);
        line.add(value == null ? "" : Measures.text(measure, value));
      }
      cells.add(line);
    }
    StringBuilder table = new StringBuilder();
    cells.forEach(line -> table.append("| ").append(String.join(" | ", line)).append(" |\n"));
    return table.toString();
  }

  /** The table with how it came about. */
  static String markdown(MeasuredResult result) {
    StringBuilder text = new StringBuilder("`").append(result.command()).append("`");
    text.append(" · ").append(result.date()).append(", commit ").append(result.commit());
    text.append(", ").append(result.machine()).append(".");
    if (result.notes() != null) {
      text.append(' ').append(result.notes().replaceAll("\\s+", " "));
    }
    return text.append("\n\n").append(markdown(result.keys(), result.measures(), result.rows())).toString();
  }

  /**
   * The document with every place {@code <!-- result: NAME --> … <!-- end of result -->} filled anew.
   *
   * @throws IllegalArgumentException when a place names a result that is not there, or a result has no place
   */
  static String fill(String document, Map<String, MeasuredResult> results) {
    Collection<String> missing = new ArrayList<>(results.keySet());
    Matcher places = PLACE.matcher(document);
    StringBuilder filled = new StringBuilder();
    while (places.find()) {
      String name = places.group(1);
      MeasuredResult result = results.get(name);
      if (result == null) {
        throw new IllegalArgumentException("There is no result '" + name + "'");
      }
      missing.remove(name);
      String text = "<!-- result: " + name + " -->\n" + markdown(result) + "<!-- end of result -->";
      places.appendReplacement(filled, Matcher.quoteReplacement(text));
    }
    if (!missing.isEmpty()) {
      throw new IllegalArgumentException("The document has no place for the results " + missing);
    }
    return places.appendTail(filled).toString();
  }
}
