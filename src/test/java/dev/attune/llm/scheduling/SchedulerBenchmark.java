package dev.attune.llm.scheduling;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Requests that generate text over a shared prefix, so many at a time: through the scheduler against calls of the
 * backend as they come. See docs/benchmarks.md for the command.
 */
final class SchedulerBenchmark {

  private static final int PREFIX_TOKENS = 200;
  private static final int ROUNDS = 5;

  private final LanguageModel model = TestModel.get();
  private final InferenceBackend direct = model.backend();
  private final int newTokens;
  private final KvSegment prefix;

  private SchedulerBenchmark(int newTokens) {
    this.newTokens = newTokens;
    int[] tokens = new int[PREFIX_TOKENS];
    Arrays.setAll(tokens, i -> 1000 + i);
    prefix = Objects.requireNonNull(
        direct.run(List.of(new Pass(tokens, 0, List.of(), model.config().layers(), true, Logits.NONE, null)))
            .getFirst().kv());
  }

  /** Runs it; the argument is the number of new tokens a request. */
  public static void main(String[] args) throws Exception {
    new SchedulerBenchmark(args.length == 0 ? 16 : Integer.parseInt(args[0])).measure();
  }

  private void measure() throws Exception {
    System.out.println("| at a time | direct requests/s | scheduled requests/s | ratio | direct p95 ms |"
        + " scheduled p95 ms | passes a batch |");
    System.out.println("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (int concurrent : new int[] {1, 4, 16}) {
      SimpleMeterRegistry metrics = new SimpleMeterRegistry();
      try (Scheduler scheduler = new Scheduler(64, metrics)) {
        InferenceBackend scheduled = scheduler.schedule(direct);
        List<double[]> rates = new ArrayList<>(List.of(new double[ROUNDS], new double[ROUNDS]));
        List<List<Double>> latencies = List.of(new ArrayList<>(), new ArrayList<>());
        for (int round = -1; round < ROUNDS; round++) {
          for (int which = 0; which < 2; which++) {
            List<Double> millis = new ArrayList<>();
            long start = System.nanoTime();
            millis.addAll(together(concurrent, which == 0 ? null : scheduler, which == 0 ? direct : scheduled));
            if (round >= 0) {
              rates.get(which)[round] = concurrent * 1e9 / (System.nanoTime() - start);
              latencies.get(which).addAll(millis);
            }
          }
        }
        double one = median(rates.get(0));
        double other = median(rates.get(1));
        System.out.printf("| %d | %.2f | %.2f | %.2f | %.0f | %.0f | %.1f |%n", concurrent, one, other, other / one,
            p95(latencies.get(0)), p95(latencies.get(1)), metrics.get("attune.llm.batch.passes").summary().mean());
      }
    }
  }

  private List<Double> together(int concurrent, Scheduler scheduler, InferenceBackend backend) throws Exception {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Double>> requests = new ArrayList<>();
      for (int i = 0; i < concurrent; i++) {
        int seed = i;
        Callable<Double> request = () -> request(backend, seed);
        requests.add(threads.submit(
            scheduler == null
                ? request
                : () -> scheduler.<Double, Exception>admit("user" + seed, Duration.ofMinutes(10), request::call)));
      }
      List<Double> millis = new ArrayList<>();
      for (Future<Double> request : requests) {
        millis.add(request.get());
      }
      return millis;
    }
  }

  /** Milliseconds of a prompt of 24 tokens and greedy tokens after it. */
  private double request(InferenceBackend backend, int seed) {
    long start = System.nanoTime();
    List<KvSegment> context = new ArrayList<>(List.of(prefix));
    int[] tokens = new int[24];
    Arrays.setAll(tokens, i -> 2000 + 31 * seed + i);
    int position = PREFIX_TOKENS;
    for (int step = 0; step <= newTokens; step++) {
      PassResult result =
          backend.run(List.of(new Pass(tokens, position, context, model.config().layers(), true, Logits.LAST, null)))
              .getFirst();
      context.add(Objects.requireNonNull(result.kv()));
      position += tokens.length;
      tokens = new int[] {best(result.logits()[0])};
    }
    return (System.nanoTime() - start) / 1e6;
  }

  private static int best(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    return best;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  private static double p95(List<Double> values) {
    double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    return sorted[(int) Math.ceil(0.95 * sorted.length) - 1];
  }
}
