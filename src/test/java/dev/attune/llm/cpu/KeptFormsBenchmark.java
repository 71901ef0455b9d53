package dev.attune.llm.cpu;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * What the form costs in which keys and values are kept: the same work in turns in one process; see docs/benchmarks.md
 * for the command.
 */
public final class KeptFormsBenchmark {

  private static final List<String> WORK =
      List.of("rank 10", "rank 100", "documents 8", "decode 400 16 1", "decode 400 8 8", "decode 1000 16 1");

  private KeptFormsBenchmark() {}

  /** Arguments: rounds, words that the work begins with (empty for all), then policies; the first is compared with. */
  public static void main(String[] args) {
    int rounds = Integer.parseInt(args[0]);
    List<String> policies = Arrays.asList(args).subList(2, args.length);
    List<EngineSpeed> engines = policies.stream().map(EngineSpeed::new).toList();
    System.out.printf("| milliseconds, %d rounds | %s |%n", rounds, String.join(" | ", policies));
    for (String work : WORK.stream().filter(w -> w.startsWith(args[1])).toList()) {
      double[][] millis = new double[engines.size()][rounds];
      double[][] ratios = new double[engines.size()][rounds];
      engines.forEach(engine -> engine.applyAsDouble(work));
      for (int round = 0; round < rounds; round++) {
        // Whoever is first in a round is not so in the next.
        for (int i = 0; i < engines.size(); i++) {
          int turn = (i + round) % engines.size();
          millis[turn][round] = engines.get(turn).applyAsDouble(work);
        }
        for (int i = 0; i < engines.size(); i++) {
          ratios[i][round] = millis[i][round] / millis[0][round];
        }
      }
      StringBuilder line = new StringBuilder("| " + work);
      for (int i = 0; i < engines.size(); i++) {
        double best = Arrays.stream(millis[i]).min().orElseThrow();
        line.append(String.format(Locale.ROOT, " | best %.1f, median %.1f, ratio of medians %.3f, of rounds %.3f", best,
            median(millis[i]), median(millis[i]) / median(millis[0]), median(ratios[i])));
      }
      System.out.println(line + " |");
    }
  }

  private static double median(double[] values) {
    double[] sorted = Arrays.stream(values).sorted().toArray();
    return sorted[sorted.length / 2];
  }
}
