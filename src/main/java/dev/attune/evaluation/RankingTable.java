package dev.attune.evaluation;

import dev.attune.evaluation.RankingEvaluation.Result;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Prints the results of one collection as a Markdown table; later systems are compared with the first. */
final class RankingTable {

  private final PrintWriter out;
  private final @Nullable ExpectedResults expected;
  private final List<Result> results = new ArrayList<>();

  RankingTable(PrintWriter out, @Nullable ExpectedResults expected) {
    this.out = out;
    this.expected = expected;
  }

  /** Adds a result and says whether it is below what is expected of a complete run. */
  boolean add(Result result) {
    results.add(result);
    return expectation(result).map(e -> e.grade(result.ndcg()).equals("LOW")).orElse(false);
  }

  void print() {
    out.println();
    out.println(
        "| dataset | system | queries | nDCG@10 | 95 % | MRR@10 | Recall@100 | vs first | p | expected | ms/query |");
    out.println("| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- | ---: |");
    Result first = results.getFirst();
    for (Result result : results) {
      double[] interval = Significance.bootstrap(result.ndcgs());
      boolean same = result == first;
      out.printf(
          Locale.ROOT,
          "| %s | %s | %d | %.4f | %.3f–%.3f | %.4f | %.4f | %s | %s | %s | %.1f |%n",
          result.dataset(),
          result.system(),
          result.ndcgs().length,
          result.ndcg(),
          interval[0],
          interval[1],
          result.mrr(),
          result.recall(),
          same ? "" : String.format(Locale.ROOT, "%+.4f", result.ndcg() - first.ndcg()),
          same
              ? ""
              : String.format(Locale.ROOT, "%.4f", Significance.pairedRandomisation(result.ndcgs(), first.ndcgs())),
          expectation(result)
              .map(e -> String.format(Locale.ROOT, "%.3f %s", e.ndcg(), e.grade(result.ndcg())))
              .orElse(""),
          result.medianMillis());
    }
    out.flush();
  }

  private Optional<ExpectedResults.Expected> expectation(Result result) {
    return expected == null
        ? Optional.empty()
        : expected.find(result.dataset(), result.system(), result.ndcgs().length);
  }
}
