package dev.attune.ranking;

import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.Ranking;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * A list of 160-token documents ranked for the first time and again. Run it with the project's JVM flags and the test
 * class path; see docs/benchmarks.md for the command.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class RankBenchmark {

  private static final String QUERY = "which market in the old river village is open in winter";

  @Param({"10", "30", "100"})
  int documents;

  private RankingFixture fixture;
  private List<RankCandidate> stored;
  private List<RankCandidate> notStored;

  /** Runs the benchmarks of this class. */
  public static void main(String[] args) throws RunnerException {
    new Runner(new OptionsBuilder().include(RankBenchmark.class.getSimpleName()).build()).run();
  }

  @Setup(Level.Trial)
  public void read() {
    fixture = new RankingFixture(Map.of());
    List<String> texts = IntStream.range(0, documents).mapToObj(i -> RankingFixture.text(i, 200)).toList();
    stored = RankingFixture.candidates("doc", texts);
    // Without an id nothing is stored, so that every call is the first.
    notStored = texts.stream().map(text -> new RankCandidate(null, "", text)).toList();
    fixture.rank(QUERY, stored);
  }

  @Benchmark
  public Ranking cold() {
    return fixture.rank(QUERY, notStored);
  }

  @Benchmark
  public Ranking warm() {
    return fixture.rank(QUERY, stored);
  }
}
