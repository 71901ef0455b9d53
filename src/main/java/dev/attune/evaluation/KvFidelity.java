package dev.attune.evaluation;

import dev.attune.demo.MovieCorpus;
import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TextGenerator;
import dev.attune.llm.kv.KvCache;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.kv.Retention;
import dev.attune.retrieval.Document;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Compares what a model says over a compressed prompt with what it says over all of it in fp16. Prompts are
 * descriptions of films, one after the other; what follows is more of the same text (for the divergence) or an entity
 * of the text to write a query about (for suggestions). The prompt is compressed before either is known.
 */
final class KvFidelity {

  /** Tokens of text after the prompt whose next-token distributions are compared. */
  private static final int FOLLOWING = 64;

  private static final int FILMS = 400;
  private static final int SUGGESTIONS = 5;
  private static final int SUGGESTION_TOKENS = 8;

  private final LanguageModel model;
  private final InferenceBackend backend;
  private final TextGenerator generator;
  private final PrintWriter out;

  KvFidelity(LanguageModel model, TextGenerator generator, PrintWriter out) {
    this.model = model;
    this.generator = generator;
    this.backend = model.backend();
    this.out = out;
  }

  /** Sums over texts. */
  private static final class Totals {
    double bytes;
    double divergence;
    int agreed;
    int compared;
    int sameSuggestions;
    int commonSuggestions;
    int suggestions;
    int texts;
  }

  /** A prompt, what it is followed by, and what the model says when it keeps everything. */
  private record Reference(
      KvSegment prompt,
      int[] following,
      double[][] logProbabilities,
      List<int[]> topics,
      List<Set<String>> suggested) {}

  void run(List<Integer> lengths, List<String> policies, int texts, int topics) {
    Map<String, Totals> totals = new LinkedHashMap<>();
    int longest = lengths.stream().mapToInt(Integer::intValue).max().orElseThrow();
    for (int text = 0; text < texts; text++) {
      List<Document> films = films(text * FILMS);
      int[] tokens = model.tokenizer().encode(films.stream()
          .map(film -> film.title() + ". " + film.text()).collect(Collectors.joining("\n")));
      // A prompt's keys and values are those of the beginning of a longer one.
      KvSegment whole = backend.recode(read(Arrays.copyOf(tokens, longest), List.of()), KvCodec.FP16);
      for (int length : lengths) {
        KvSegment prompt = length == longest ? whole : backend.slice(whole, 0, length);
        int[] following = Arrays.copyOfRange(tokens, length, length + FOLLOWING);
        Reference reference = reference(prompt, following, films, topics);
        for (String spec : policies) {
          KvPolicy policy = KvPolicy.parse(spec);
          long bytes = measure(reference, policy, totals.computeIfAbsent(length + "|" + policy, k -> new Totals()));
          if (policy.retention() instanceof Retention.Razor) {
            int window = Math.max(1, (int) (bytes * (double) length / prompt.bytes()
                * (policy.codec() == KvCodec.INT8 ? 2.0 : 1.0)) - 4);
            KvPolicy streaming =
                new KvPolicy(new Retention.Streaming(4, window), policy.codec(), KvPolicy.Selection.ALL);
            measure(reference, streaming,
                totals.computeIfAbsent(length + "|streaming, bytes of " + policy, k -> new Totals()));
          }
        }
      }
    }
    print(totals);
  }

  private void print(Map<String, Totals> totals) {
    out.println("| prompt tokens | policy | bytes, share of full fp16 | mean KLD | top-1 agreement | top-5 the same "
        + "| of the five in common |");
    out.println("| ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    totals.forEach((name, t) -> out.printf("| %s | %s | %.3f | %.2e | %.1f %% | %.0f %% | %.1f |%n",
        name.substring(0, name.indexOf('|')), name.substring(name.indexOf('|') + 1), t.bytes / t.texts,
        t.divergence / t.compared, 100.0 * t.agreed / t.compared, 100.0 * t.sameSuggestions / t.suggestions,
        (double) t.commonSuggestions / t.suggestions));
    out.flush();
  }

  private static List<Document> films(int skip) {
    try (Stream<Document> films = MovieCorpus.read()) {
      return films.skip(skip).limit(FILMS).toList();
    }
  }

  private KvSegment read(int[] tokens, List<KvSegment> context) {
    return Objects.requireNonNull(pass(tokens, context, true).kv());
  }

  private PassResult pass(int[] tokens, List<KvSegment> context, boolean keep) {
    int position = context.stream().mapToInt(s -> s.firstPosition() + s.tokens()).max().orElse(0);
    return backend.run(List.of(new Pass(tokens, position, context, model.config().layers(), keep,
        keep ? Logits.NONE : Logits.ALL, null))).getFirst();
  }

  private Reference reference(KvSegment prompt, int[] following, List<Document> films, int topics) {
    List<int[]> asked = new ArrayList<>();
    List<Set<String>> suggested = new ArrayList<>();
    for (int i = 0; i < topics; i++) {
      asked.add(model.tokenizer().encodeWithControls("\nTopic: " + films.get(3 * i).title()
          + " (work)<|im_end|>\n<|im_start|>assistant\n"));
      suggested.add(suggest(List.of(prompt), asked.get(i)));
    }
    return new Reference(prompt, following, logProbabilities(List.of(prompt), following), asked, suggested);
  }

  private double[][] logProbabilities(List<KvSegment> context, int[] following) {
    float[][] logits = pass(following, context, false).logits();
    double[][] result = new double[logits.length][];
    for (int i = 0; i < logits.length; i++) {
      result[i] = logSoftmax(logits[i]);
    }
    return result;
  }

  private static double[] logSoftmax(float[] logits) {
    double max = Double.NEGATIVE_INFINITY;
    for (float logit : logits) {
      max = Math.max(max, logit);
    }
    double total = 0;
    for (float logit : logits) {
      total += Math.exp(logit - max);
    }
    double log = max + Math.log(total);
    double[] result = new double[logits.length];
    for (int i = 0; i < result.length; i++) {
      result[i] = logits[i] - log;
    }
    return result;
  }

  private Set<String> suggest(List<KvSegment> context, int[] topic) {
    TextGenerator.Options greedy =
        new TextGenerator.Options(SUGGESTIONS, SUGGESTION_TOKENS, 0, 1, 1, List.of("\n"), null, null);
    return generator.generate(model, context, topic, greedy).completions().stream()
        .map(TextGenerator.Completion::text).collect(Collectors.toSet());
  }

  /** Adds to the totals and returns the bytes of the compressed prompt. */
  private long measure(Reference reference, KvPolicy policy, Totals totals) {
    KvCache cache = KvCache.of(model, policy.retention(), List.of());
    cache.append(backend.recode(reference.prompt, policy.codec()));
    cache.endPrompt();
    List<KvSegment> compressed = cache.segments();
    double[][] actual = logProbabilities(compressed, reference.following);
    for (int i = 0; i < actual.length; i++) {
      totals.divergence += divergence(reference.logProbabilities[i], actual[i]);
      totals.agreed += argMax(reference.logProbabilities[i]) == argMax(actual[i]) ? 1 : 0;
      totals.compared++;
    }
    for (int i = 0; i < reference.topics.size(); i++) {
      Set<String> suggested = suggest(compressed, reference.topics.get(i));
      totals.sameSuggestions += suggested.equals(reference.suggested.get(i)) ? 1 : 0;
      totals.commonSuggestions += (int) suggested.stream().filter(reference.suggested.get(i)::contains).count();
      totals.suggestions++;
    }
    totals.bytes += (double) cache.bytes() / reference.prompt.bytes();
    totals.texts++;
    return cache.bytes();
  }

  private static double divergence(double[] p, double[] q) {
    double sum = 0;
    for (int i = 0; i < p.length; i++) {
      sum += Math.exp(p[i]) * (p[i] - q[i]);
    }
    return sum;
  }

  private static int argMax(double[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      if (values[i] > values[best]) {
        best = i;
      }
    }
    return best;
  }
}
