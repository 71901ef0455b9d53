package dev.attune.evaluation;

import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.Filter;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Times retrieval of the films. */
final class RetrievalBenchmark {

  private final DocumentIndex index;
  private final List<Dataset.Query> queries;
  private final int candidates;

  RetrievalBenchmark(DocumentIndex index, List<Dataset.Query> queries, int candidates) {
    this.index = index;
    this.queries = queries;
    this.candidates = candidates;
  }

  void print(PrintWriter out) {
    Map<String, Filter> recent = Map.of("year", new Filter.Range(2000.0, null));
    out.println();
    out.println("| search | queries | median ms | p95 ms | x baseline |");
    out.println("| --- | ---: | ---: | ---: | ---: |");
    double baseline = row(out, "lexical (baseline)", Mode.LEXICAL, Map.of(), List.of(), 0);
    row(out, "lexical, filter", Mode.LEXICAL, recent, List.of(), baseline);
    row(out, "lexical, 2 facets", Mode.LEXICAL, Map.of(), List.of("genres", "director"), baseline);
    row(out, "dense", Mode.DENSE, Map.of(), List.of(), baseline);
    row(out, "dense, filter", Mode.DENSE, recent, List.of(), baseline);
    row(out, "hybrid", Mode.HYBRID, Map.of(), List.of(), baseline);
    row(out, "hybrid, filter, 2 facets", Mode.HYBRID, recent, List.of("genres", "director"), baseline);
    out.flush();
  }

  private double row(
      PrintWriter out, String label, Mode mode, Map<String, Filter> filters, List<String> facets, double baseline) {
    double[] millis = new double[queries.size()];
    for (int round = 0; round < 2; round++) { // The first round warms up.
      for (int i = 0; i < queries.size(); i++) {
        long start = System.nanoTime();
        index.search(new RetrievalRequest(queries.get(i).text(), mode, candidates, filters, facets));
        millis[i] = (System.nanoTime() - start) / 1e6;
      }
    }
    Arrays.sort(millis);
    double median = RankingEvaluation.median(millis);
    out.printf(
        Locale.ROOT,
        "| %s | %d | %.2f | %.2f | %.2f |%n",
        label, millis.length, median, millis[(int) (0.95 * (millis.length - 1))],
        baseline == 0 ? 1 : median / baseline);
    return median;
  }
}
