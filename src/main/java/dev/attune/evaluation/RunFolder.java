package dev.attune.evaluation;

import dev.attune.evaluation.RankingEvaluation.QueryResult;
import dev.attune.evaluation.RankingMetrics.Scored;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A folder that keeps a run query by query, so that one that was broken off goes on where it was: per collection and
 * system a TREC run {@code DATASET/SYSTEM.run} and the measures {@code DATASET/SYSTEM.tsv}, whose line for a query is
 * written last and so says that the query is done. {@code DATASET/settings.tsv} says what the figures depend on; a run
 * with other settings is refused.
 */
final class RunFolder {

  private static final String HEADER = "query_id\tndcg@10\tmrr@10\trecall@100\tms\n";

  private final Path folder;

  /**
   * Opens the folder of a collection, or makes it.
   *
   * @param settings all that figures depend on, by name
   * @throws IllegalArgumentException when it holds a run with other settings; the message names the first difference
   */
  RunFolder(Path directory, String dataset, Map<String, String> settings) {
    this.folder = directory.resolve(dataset);
    Path file = folder.resolve("settings.tsv");
    StringBuilder text = new StringBuilder();
    settings.forEach((name, value) -> text.append(name).append('\t').append(value).append('\n'));
    try {
      Files.createDirectories(folder);
      if (!Files.exists(file)) {
        Files.writeString(file, text);
        return;
      }
      Map<String, String> kept = new HashMap<>();
      Files.readAllLines(file)
          .forEach(line -> kept.put(line.split("\t", 2)[0], line.substring(line.indexOf('\t') + 1)));
      settings.forEach(
          (name, value) -> {
            if (!value.equals(kept.get(name))) {
              throw new IllegalArgumentException(
                  "%s holds a run with %s %s, not %s; name another folder with --run-out"
                      .formatted(folder, name, kept.get(name), value));
            }
          });
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot use " + folder, e);
    }
  }

  /** What is done of a system; what was being written when it was broken off is dropped. */
  Map<String, QueryResult> done(String system) {
    Path measures = folder.resolve(system + ".tsv");
    if (!Files.exists(measures)) {
      return Map.of();
    }
    try {
      String text = Files.readString(measures);
      String complete = text.substring(0, text.lastIndexOf('\n') + 1);
      Map<String, QueryResult> done = new LinkedHashMap<>();
      complete
          .lines()
          .skip(1)
          .map(line -> line.split("\t"))
          .forEach(c -> done.put(c[0], new QueryResult(number(c[1]), number(c[2]), number(c[3]), number(c[4]))));
      if (complete.length() < text.length()) {
        Files.writeString(measures, complete);
      }
      keepOnly(folder.resolve(system + ".run"), done.keySet());
      return done;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void keepOnly(Path run, Set<String> queries) throws IOException {
    Path clean = run.resolveSibling(run.getFileName() + ".new");
    try (Stream<String> lines = Files.lines(run);
        BufferedWriter out = Files.newBufferedWriter(clean)) {
      for (String line : (Iterable<String>) lines::iterator) {
        if (queries.contains(line.substring(0, Math.max(0, line.indexOf(' '))))) {
          out.write(line + "\n");
        }
      }
    }
    Files.move(clean, run, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Keeps one query of a system. */
  void add(String system, String query, List<Scored> ranking, QueryResult result) {
    if (query.chars().anyMatch(Character::isWhitespace)) {
      throw new IllegalArgumentException("A TREC run cannot name the query '" + query + "'");
    }
    Path measures = folder.resolve(system + ".tsv");
    try {
      boolean first = !Files.exists(measures);
      try (Writer out = append(folder.resolve(system + ".run"))) {
        TrecFiles.write(out, query, ranking, system);
      }
      try (Writer out = append(measures)) {
        out.write(
            (first ? HEADER : "")
                + String.format(
                    Locale.ROOT,
                    "%s\t%s\t%s\t%s\t%.3f\n",
                    query,
                    result.ndcg(),
                    result.reciprocalRank(),
                    result.recall(),
                    result.millis()));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Writer append(Path file) throws IOException {
    return Files.newBufferedWriter(
        file, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private static double number(String text) {
    return Double.parseDouble(text);
  }
}
