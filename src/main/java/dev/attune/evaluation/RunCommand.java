package dev.attune.evaluation;

import dev.attune.evaluation.MeasuredResult.Row;
import dev.attune.evaluation.RankingEvaluation.QueryResult;
import dev.attune.evaluation.RankingEvaluation.Result;
import dev.attune.evaluation.RankingMetrics.Scored;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Measures of runs that are there already, of whatever system. */
@Command(
    name = "run",
    description =
        "Measures TREC runs against judgments. Every judged query counts; one that a run does not answer scores 0, as "
            + "with trec_eval -c. Later runs are compared with the first by a paired randomisation test.",
    mixinStandardHelpOptions = true)
class RunCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;
  @Mixin private RecordOption record;

  @Option(names = "--qrels", required = true, description = "Judgments of TREC or BEIR, plain or .gz.")
  private Path qrels;

  @Option(names = "--run", split = ",", required = true, description = "Runs: query Q0 document rank score tag.")
  private List<Path> runs;

  @Option(names = "--per-query", description = "File for the measures of each query, tab-separated.")
  private @Nullable Path perQuery;

  @Override
  public Integer call() {
    try {
      return run();
    } catch (IllegalArgumentException | UncheckedIOException e) {
      throw new CommandLine.ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
    }
  }

  private int run() {
    Map<String, Map<String, Integer>> judgments = TrecFiles.qrels(qrels);
    if (judgments.isEmpty()) {
      throw new IllegalArgumentException(qrels + " holds no judgments");
    }
    List<String> queries = List.copyOf(judgments.keySet());
    PrintWriter out = spec.commandLine().getOut();
    List<Result> results = new ArrayList<>();
    for (Path file : runs) {
      Map<String, List<Scored>> run = TrecFiles.run(file);
      long answered = queries.stream().filter(run::containsKey).count();
      if (answered < queries.size()) {
        out.printf("%s answers %,d of %,d judged queries; the others score 0%n", file, answered, queries.size());
      }
      results.add(
          new Result(
              qrels.getFileName().toString(),
              file.getFileName().toString(),
              queries.stream()
                  .map(
                      q ->
                          QueryResult.of(
                              run.getOrDefault(q, List.of()), judgments.getOrDefault(q, Map.of()), Double.NaN))
                  .toList()));
    }
    List<Row> rows = RankingRows.of(results);
    out.print(ResultTable.markdown(RankingRows.KEYS, List.copyOf(rows.getLast().figures().keySet()), rows));
    out.flush();
    if (perQuery != null) {
      write(perQuery, queries, results);
    }
    record.write(spec, "Runs", null, Map.of(), RankingRows.TOLERANCES, RankingRows.KEYS, rows);
    return 0;
  }

  private static void write(Path file, List<String> queries, List<Result> results) {
    try (BufferedWriter out = Files.newBufferedWriter(file)) {
      out.write("run\tquery_id\tndcg@10\tmrr@10\trecall@100\n");
      for (Result result : results) {
        for (int i = 0; i < queries.size(); i++) {
          QueryResult q = result.queries().get(i);
          out.write(
              String.join(
                  "\t",
                  result.system(),
                  queries.get(i),
                  Double.toString(q.ndcg()),
                  Double.toString(q.reciprocalRank()),
                  Double.toString(q.recall())));
          out.write('\n');
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write " + file, e);
    }
  }
}
