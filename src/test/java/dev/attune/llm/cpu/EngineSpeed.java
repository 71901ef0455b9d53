package dev.attune.llm.cpu;

import com.sun.management.OperatingSystemMXBean;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import dev.attune.llm.kv.KvCache;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/**
 * Times of the CPU backend with the default model. Its only face are types of the JDK, so that {@code
 * LlamaCppBenchmark} can load it together with another build of the engine and compare the two in one process.
 */
public final class EngineSpeed implements ToDoubleFunction<String> {

  private static final int RANKING_LAYERS = 18;
  private static final boolean CPU_TIME = "cpu".equals(System.getProperty("clock"));

  private final LanguageModel model;
  private final Random random = new Random(1);
  /** Documents read before, for {@code rank}. */
  private final List<KvSegment> documents = new ArrayList<>();

  public EngineSpeed() {
    this("full+fp16");
  }

  EngineSpeed(String policy) {
    model = TestModel.get(policy);
  }

  /**
   * Runs one measurement.
   *
   * @param work {@code prefill N}: a prompt of N tokens through all layers and the head of its last token; {@code
   *     documents B}: B documents of 160 tokens through 18 layers; {@code rank B}: a last block of 50 tokens over B
   *     such documents, which were read before; {@code decode P N B}: N steps of B continuations of a prompt of P
   *     tokens, each step keeping its keys and values
   * @return milliseconds
   */
  @Override
  public double applyAsDouble(String work) {
    String[] words = work.split(" ");
    int n = Integer.parseInt(words[1]);
    return switch (words[0]) {
      case "prefill" -> prefill(n);
      case "documents" -> documents(n);
      case "rank" -> rank(n);
      case "decode" -> decode(n, Integer.parseInt(words[2]), Integer.parseInt(words[3]));
      default -> throw new IllegalArgumentException(work);
    };
  }

  private int[] tokens(int count) {
    return random.ints(count, 1000, 40_000).toArray();
  }

  private double prefill(int count) {
    Pass pass = new Pass(tokens(count), 0, List.of(), model.config().layers(), true, Logits.LAST, null);
    return millis(List.of(pass));
  }

  private double documents(int count) {
    return millis(readings(count));
  }

  private List<Pass> readings(int count) {
    List<Pass> passes = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      passes.add(new Pass(tokens(160), 64, List.of(), RANKING_LAYERS, true, Logits.NONE, null));
    }
    return passes;
  }

  private double rank(int count) {
    if (documents.size() < count) {
      model.backend().run(readings(count - documents.size())).forEach(
          result -> documents.add(Objects.requireNonNull(result.kv())));
    }
    Probe probe = new Probe(new int[] {40, 49}, IntStream.range(0, count).toArray());
    List<KvSegment> context = List.copyOf(documents.subList(0, count));
    return millis(List.of(new Pass(tokens(50), 2048, context, RANKING_LAYERS, false, Logits.NONE, probe)));
  }

  private double decode(int prompt, int steps, int parallel) {
    int layers = model.config().layers();
    Pass first = new Pass(tokens(prompt), 0, List.of(), layers, true, Logits.NONE, null);
    KvSegment shared = Objects.requireNonNull(model.backend().run(List.of(first)).getFirst().kv());
    List<KvCache> caches = new ArrayList<>();
    for (int i = 0; i < parallel; i++) {
      caches.add(KvCache.of(model, List.of(shared)));
    }
    double millis = 0;
    for (int step = 0; step < steps; step++) {
      List<Pass> passes = new ArrayList<>();
      for (KvCache cache : caches) {
        passes.add(new Pass(tokens(1), prompt + step, cache.segments(), layers, true, Logits.LAST, null));
      }
      long start = nanos();
      List<PassResult> results = model.backend().run(passes);
      for (int i = 0; i < parallel; i++) {
        caches.get(i).append(Objects.requireNonNull(results.get(i).kv()));
      }
      millis += (nanos() - start) / 1e6;
    }
    return millis;
  }

  private double millis(List<Pass> passes) {
    long start = nanos();
    model.backend().run(passes);
    return (nanos() - start) / 1e6;
  }

  /**
   * The clock. On a machine that others load, {@code -Dclock=cpu -XX:ActiveProcessorCount=1} measures the processor
   * time of one computing thread instead.
   */
  public static long nanos() {
    return CPU_TIME
        ? ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime()
        : System.nanoTime();
  }
}
