import de.kherud.llama.InferenceParameters;
import de.kherud.llama.LlamaModel;
import de.kherud.llama.ModelParameters;
import dev.attune.llm.TestModel;
import dev.attune.llm.cpu.EngineSpeed;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.ToDoubleFunction;

/**
 * Prefill and decode of this engine beside llama.cpp on the same file with the same threads, in turns in one process.
 * Arguments: rounds (default 7), then class paths of other builds of this engine, compared as well. Prints the minimum
 * and the median of each; {@code -Dwork=decode} takes only works whose names start so. A program in one file, for the
 * Java launcher, because llama.cpp is no dependency of the build; see docs/benchmarks.md for the command.
 */
public final class LlamaCppBenchmark {

  private static final int PROMPT = 400;
  private static final int STEPS = 64;
  private static final int THREADS = Runtime.getRuntime().availableProcessors();

  private static final List<Work> WORKS = List.of(
      new Work("prefill " + PROMPT, PROMPT, true),
      new Work("decode " + PROMPT + " " + STEPS + " 1", STEPS, true),
      new Work("decode " + PROMPT + " 8 4", 32, false),
      new Work("documents 8", 8 * 160, false));

  /** A measurement of {@link EngineSpeed}, and whether llama.cpp can be asked for the same. */
  private record Work(String name, int tokens, boolean llamaCpp) {}

  private LlamaCppBenchmark() {}

  /** Runs the comparison. */
  public static void main(String[] args) throws Exception {
    int rounds = args.length > 0 ? Integer.parseInt(args[0]) : 7;
    Map<String, ToDoubleFunction<String>> engines = new LinkedHashMap<>();
    engines.put("attune", new EngineSpeed());
    for (int i = 1; i < args.length; i++) {
      engines.put("build " + i, otherBuild(args[i]));
    }
    ModelParameters parameters = new ModelParameters()
        .setModel(TestModel.FILE.toString()).setThreads(THREADS).setThreadsBatch(THREADS).setCtxSize(2048).disableLog();
    LlamaModel.setLogger(null, (level, line) -> {});
    String only = System.getProperty("work", "");
    try (LlamaModel llama = new LlamaModel(parameters)) {
      engines.put("llama.cpp", work -> llamaCpp(llama, work));
      System.out.printf("| %-15s | %-10s | tokens/s best | median | best / last | median |%n", "work", "engine");
      for (Work work : WORKS) {
        if (work.name().startsWith(only)) {
          compare(engines, work, rounds);
        }
      }
    }
    System.exit(0);
  }

  private static void compare(
      Map<String, ToDoubleFunction<String>> engines, Work work, int rounds) {
    LinkedHashMap<String, List<Double>> millis = new LinkedHashMap<>();
    for (int round = -2; round < rounds; round++) {
      for (var engine : engines.entrySet()) {
        if (engine.getKey().equals("llama.cpp") && !work.llamaCpp) {
          continue;
        }
        double time = engine.getValue().applyAsDouble(work.name);
        if (round >= 0) {
          millis.computeIfAbsent(engine.getKey(), name -> new ArrayList<>()).add(time);
        }
      }
    }
    double[] reference = rates(millis.getOrDefault("llama.cpp", millis.sequencedValues().getLast()), work.tokens);
    millis.forEach((engine, times) -> {
      double[] rates = rates(times, work.tokens);
      System.out.printf("| %-15s | %-10s | %13.1f | %6.1f | %11.2f | %6.2f |%n", work.name, engine, rates[0], rates[1],
          rates[0] / reference[0], rates[1] / reference[1]);
    });
  }

  /** Tokens per second: the best and the median. */
  private static double[] rates(List<Double> millis, int tokens) {
    double[] sorted = millis.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    return new double[] {1000 * tokens / sorted[0], 1000 * tokens / sorted[sorted.length / 2]};
  }

  private static double llamaCpp(LlamaModel llama, String work) {
    String[] words = work.split(" ");
    String text = prompt(llama, Integer.parseInt(words[1]));
    if (words[0].equals("prefill")) {
      return complete(llama, text, 1);
    }
    // The first token after the prompt comes with it; the prompt's time is taken off.
    double prompt = complete(llama, text, 1);
    return complete(llama, text, 1 + Integer.parseInt(words[2])) - prompt;
  }

  private static double complete(LlamaModel llama, String text, int tokens) {
    InferenceParameters parameters = new InferenceParameters(text)
        .setNPredict(tokens).setTemperature(0).setTopK(1).setIgnoreEos(true).setCachePrompt(false);
    long start = EngineSpeed.nanos();
    String answer = llama.complete(parameters);
    double millis = (EngineSpeed.nanos() - start) / 1e6;
    if (answer.isEmpty()) {
      throw new IllegalStateException("llama.cpp generated nothing");
    }
    return millis;
  }

  /** A text of so many tokens: words are drawn until it is long enough, then cut back. */
  private static String prompt(LlamaModel llama, int tokens) {
    Random random = new Random();
    StringBuilder words = new StringBuilder("The");
    while (llama.encode(words.toString()).length < tokens) {
      int missing = tokens - llama.encode(words.toString()).length;
      for (int i = 0; i < Math.max(1, missing / 2); i++) {
        words.append(random.nextBoolean() ? " of" : random.nextBoolean() ? " the" : " house");
      }
    }
    int[] ids = llama.encode(words.toString());
    return llama.decode(Arrays.copyOf(ids, tokens));
  }

  @SuppressWarnings("unchecked")
  private static ToDoubleFunction<String> otherBuild(String classPath) throws Exception {
    List<URL> urls = new ArrayList<>();
    for (String entry : classPath.split(":")) {
      urls.add(url(entry));
    }
    // The project's own classes come from the other build, everything else from here.
    ClassLoader libraries = new ClassLoader(LlamaCppBenchmark.class.getClassLoader()) {
      @Override
      protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        if (name.startsWith("dev.attune.")) {
          throw new ClassNotFoundException(name);
        }
        return super.loadClass(name, resolve);
      }
    };
    URLClassLoader build = new URLClassLoader(urls.toArray(URL[]::new), libraries);
    return (ToDoubleFunction<String>)
        build.loadClass(EngineSpeed.class.getName()).getDeclaredConstructor().newInstance();
  }

  private static URL url(String entry) throws MalformedURLException {
    return Path.of(entry).toUri().toURL();
  }
}
