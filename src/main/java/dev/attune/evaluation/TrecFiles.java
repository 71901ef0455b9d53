package dev.attune.evaluation;

import dev.attune.evaluation.RankingMetrics.Scored;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Judgments and runs in the formats of TREC, plain or with {@code .gz}: qrels are
 * {@code query iteration document grade} (or BEIR's {@code query document grade} with a header), runs are
 * {@code query Q0 document rank score tag}.
 */
final class TrecFiles {

  private TrecFiles() {}

  /**
   * Reads judgments.
   *
   * @return grades by query id and document id, queries in the order of the file
   * @throws IllegalArgumentException naming the line that is not one of either format
   */
  static Map<String, Map<String, Integer>> qrels(Path file) {
    Map<String, Map<String, Integer>> judgments = new LinkedHashMap<>();
    forEachLine(
        file,
        (columns, number) -> {
          if (number == 1 && columns[0].equals("query-id")) {
            return;
          }
          if (columns.length != 3 && columns.length != 4) {
            throw new NumberFormatException();
          }
          String document = columns[columns.length - 2];
          judgments
              .computeIfAbsent(columns[0], query -> new HashMap<>())
              .put(document, (int) Double.parseDouble(columns[columns.length - 1]));
        });
    return judgments;
  }

  /**
   * Reads a run; the rank column is ignored, as trec_eval does.
   *
   * @return scored documents by query id
   * @throws IllegalArgumentException naming the line that is not of the format
   */
  static Map<String, List<Scored>> run(Path file) {
    Map<String, List<Scored>> run = new LinkedHashMap<>();
    forEachLine(
        file,
        (columns, number) -> {
          if (columns.length != 6) {
            throw new NumberFormatException();
          }
          run.computeIfAbsent(columns[0], query -> new ArrayList<>())
              .add(new Scored(columns[2], Double.parseDouble(columns[4])));
        });
    return run;
  }

  /** Writes one query of a run in the order in which trec_eval reads it. */
  static void write(Writer out, String query, List<Scored> ranking, String tag) throws IOException {
    Map<String, Double> scores = new HashMap<>();
    ranking.forEach(scored -> scores.put(scored.id(), scored.score()));
    int rank = 1;
    for (String document : RankingMetrics.order(ranking)) {
      // Shortest text that reads as the same number, so that a run that is read again has the same order.
      out.write(
          String.format(Locale.ROOT, "%s Q0 %s %d %s %s\n", query, document, rank++, scores.get(document), tag));
    }
  }

  private interface Line {
    void read(String[] columns, int number);
  }

  private static void forEachLine(Path file, Line line) {
    int[] number = {0};
    try (Stream<String> lines = DatasetReader.lines(file)) {
      lines.forEach(
          text -> {
            number[0]++;
            String stripped = text.strip();
            if (!stripped.isEmpty()) {
              try {
                // Ids of BEIR may hold spaces: a tab divides where there is one.
                line.read(stripped.split(stripped.indexOf('\t') >= 0 ? "\\t" : "\\s+"), number[0]);
              } catch (NumberFormatException e) {
                throw new IllegalArgumentException(
                    "%s, line %d: '%s' is neither of a TREC format nor of BEIR's"
                        .formatted(file, number[0], stripped),
                    e);
              }
            }
          });
    }
  }
}
