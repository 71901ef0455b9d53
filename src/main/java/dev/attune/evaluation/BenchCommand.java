package dev.attune.evaluation;

import dev.attune.datadir.DataDirectory;
import dev.attune.demo.MovieCorpus;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.GpuBench;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.llm.TextGenerator;
import dev.attune.ranking.PromptTokens;
import dev.attune.ranking.Ranker;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.Embedder;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.stereotype.Component;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code attune bench}: speed of the hot paths, as medians beside a baseline of the same run. */
@Component
@Command(name = "bench", description = "Measure speed; medians, and ratios to a baseline of the same run.")
class BenchCommand {

  private static final String QUERY = "a space crew fights for survival on a hostile planet";
  private static final Duration NO_LIMIT = Duration.ofMinutes(30);
  /** Before the first sample; less leaves the first lines of a table to the compiler. */
  static final Duration WARM_UP = Duration.ofSeconds(5);

  private final ObjectProvider<Models> models;
  private final Ranker ranker;
  private final TextGenerator generator;
  private final Embedder embedder;
  private final DataDirectory dataDirectory;
  private final ObjectProvider<PromptTokens.Factory> prompts;

  @Spec private CommandSpec spec;

  BenchCommand(
      ObjectProvider<Models> models,
      Ranker ranker,
      TextGenerator generator,
      Embedder embedder,
      DataDirectory dataDirectory,
      ObjectProvider<PromptTokens.Factory> prompts) {
    this.models = models;
    this.prompts = prompts;
    this.ranker = ranker;
    this.generator = generator;
    this.embedder = embedder;
    this.dataDirectory = dataDirectory;
  }

  @Command(name = "search", description = "Retrieval of films; the baseline is by words, without filters or facets.")
  int search(
      @Option(names = "--queries", defaultValue = "200", description = "Default: ${DEFAULT-VALUE}.") int queries,
      @Option(names = "--candidates", defaultValue = "100",
          description = "Length of the lists. Default: ${DEFAULT-VALUE}.") int candidates,
      @Option(names = "--data", defaultValue = "../shared/data",
          description = "Directory of the test collections. Default: ${DEFAULT-VALUE}.") Path data) {
    Dataset movies = new DatasetReader(data).read("movies", queries);
    PrintWriter out = spec.commandLine().getOut();
    try (EvaluationIndex index =
        EvaluationIndex.open(dataDirectory.room("evaluation"), movies, embedder, true, out)) {
      new RetrievalBenchmark(index.documents(), movies.queries(), candidates).print(out);
    }
    return 0;
  }

  @Command(name = "rank", description = "BlockRank over films: cold (documents unread) and warm (read before), beside "
      + "the same texts as one causal prompt, where the model's context holds it.")
  int rank(
      @Option(names = "--documents", split = ",", defaultValue = "10,30,100",
          description = "List lengths. Default: ${DEFAULT-VALUE}.") List<Integer> lengths,
      @Option(names = "--layers", defaultValue = "18",
          description = "Layers of the one prompt: attune.ranking.layer. Default: ${DEFAULT-VALUE}.") int layers,
      @Option(names = "--samples", defaultValue = "5", description = "Default: ${DEFAULT-VALUE}.") int samples)
      throws Exception {
    LanguageModel model = LoadedModel.await(models, ModelRole.RANKING);
    List<Document> films = films(lengths.stream().mapToInt(Integer::intValue).max().orElse(1));
    List<Document> few = films.subList(0, Math.min(8, films.size()));
    Medians.warmUp(WARM_UP, () -> rank(candidates(few, "bench-" + UUID.randomUUID())));
    print("| documents | prompt tokens | one prompt ms | cold ms | warm ms | cold / warm | one prompt / cold |");
    print("| --- | --- | --- | --- | --- | --- | --- |");
    for (int length : lengths) {
      List<RankCandidate> warm = candidates(films.subList(0, length), "bench-warm");
      Ranker.Ranking ranking = rank(warm);
      double coldMillis = Medians.millis(
          0, samples, () -> rank(candidates(films.subList(0, length), "bench-" + UUID.randomUUID())));
      rank(warm);
      double warmMillis = Medians.millis(1, samples, () -> rank(warm));
      int[] prompt = onePrompt(model, films.subList(0, length), ranking.promptTokens());
      double promptMillis =
          prompt.length > model.config().context()
              ? Double.NaN
              : Medians.millis(1, samples, () -> model.backend().run(List.of(
                  new Pass(prompt, 0, List.of(), layers, true, Logits.NONE, null))));
      print("| %d | %d | %.1f | %.1f | %.1f | %.1f | %.1f |"
          .formatted(length, ranking.promptTokens(), promptMillis, coldMillis, warmMillis, coldMillis / warmMillis,
              promptMillis / coldMillis));
    }
    return 0;
  }

  /** As many tokens as the blocks have, in one sequence that is causal as a whole. */
  private static int[] onePrompt(LanguageModel model, List<Document> films, int tokens) {
    String text =
        films.stream().map(film -> "Document: " + film.title() + "\n" + film.text()).collect(Collectors.joining("\n"));
    return Arrays.copyOf(model.tokenizer().encode(text + "\nQuery: " + QUERY), tokens);
  }

  private Ranker.Ranking rank(List<RankCandidate> candidates) {
    return ranker.rank(new RankRequest(QUERY, candidates, List.of(), NO_LIMIT));
  }

  @Command(name = "warm", description = "The last block over documents read before: as read, in int8, and one token in "
      + "ten of that, beside reading them in the same run; with the work that the engine counted.")
  int warm(
      @Option(names = "--documents", split = ",", defaultValue = "10,100,500",
          description = "List lengths. Default: ${DEFAULT-VALUE}.") List<Integer> lengths,
      @Option(names = "--last-tokens", defaultValue = "48",
          description = "Tokens of the last block; its query is cut or filled. Default: ${DEFAULT-VALUE}.") int last,
      @Option(names = "--samples", defaultValue = "5", description = "Default: ${DEFAULT-VALUE}.") int samples)
      throws Exception {
    LanguageModel model = LoadedModel.await(models, ModelRole.RANKING);
    int most = lengths.stream().mapToInt(Integer::intValue).max().orElse(1);
    new WarmBenchmark(model, prompts.getObject().of(model), films(most), last, samples).print(lengths, this::print);
    return 0;
  }

  @Command(name = "prefill", description = "Reading text: one document a call against batches.")
  int prefill(
      @Option(names = "--layers", defaultValue = "18", description = "Default: ${DEFAULT-VALUE}.") int layers,
      @Option(names = "--tokens", defaultValue = "160", description = "Tokens a document. Default: ${DEFAULT-VALUE}.")
          int tokens,
      @Option(names = "--samples", defaultValue = "5", description = "Default: ${DEFAULT-VALUE}.") int samples)
      throws Exception {
    LanguageModel model = LoadedModel.await(models, ModelRole.RANKING);
    String text = films(50).stream().map(Document::text).collect(Collectors.joining(" "));
    int[] stream = model.tokenizer().encode(text);
    int[] batches = {1, 4, 8, 16};
    List<Callable<?>> works = new ArrayList<>();
    for (int batch : batches) {
      List<Pass> passes = new ArrayList<>();
      for (int i = 0; i < batch; i++) {
        int from = i * tokens;
        passes.add(new Pass(
            Arrays.copyOfRange(stream, from, from + tokens), 0, List.of(), layers, true, Logits.NONE, null));
      }
      works.add(() -> model.backend().run(passes));
    }
    Medians.warmUp(WARM_UP, works.getFirst());
    Medians.warmUp(WARM_UP, works.getLast());
    double[][] millis = Medians.inTurns(samples, works);
    print("| documents a call | ms a document | tokens/s | ratio to one a call |");
    print("| --- | --- | --- | --- |");
    double single = Medians.median(millis[0]);
    for (int i = 0; i < batches.length; i++) {
      double document = Medians.median(millis[i]) / batches[i];
      print("| %d | %.1f | %.0f | %.2f |"
          .formatted(batches[i], document, tokens * 1000.0 / document, single / document));
    }
    return 0;
  }

  @Command(name = "gpu", description = "The GPU kernels with random weights: ranking cold and warm, decoding.")
  int gpu(
      @Option(names = "--shapes", split = ",", defaultValue = "S,M",
          description = "S is SmolLM2-135M, M Mistral-7B. Default: ${DEFAULT-VALUE}.") List<String> shapes,
      @Option(names = "--documents", split = ",", defaultValue = "10,100,500",
          description = "List lengths. Default: ${DEFAULT-VALUE}.") List<Integer> documents,
      @Option(names = "--samples", defaultValue = "50", description = "Default: ${DEFAULT-VALUE}.") int samples,
      @Option(names = "--numbers", defaultValue = "fp16", description = "fp16 or bf16. Default: ${DEFAULT-VALUE}.")
          String numbers,
      @Option(names = "--compare", description = "Measure cuBLASLt's products and other tiles too.") boolean compare,
      @Option(names = "--json", description = "File for the results.") @Nullable Path json) throws IOException {
    return GpuBench.run(spec.commandLine().getOut(), numbers, shapes, documents, samples, compare, json) ? 0 : 1;
  }

  @Command(name = "decode", description = "Generating text: one continuation against parallel ones.")
  int decode(
      @Option(names = "--prompt", defaultValue = "400", description = "Prompt tokens. Default: ${DEFAULT-VALUE}.")
          int promptTokens,
      @Option(names = "--new", defaultValue = "32", description = "New tokens. Default: ${DEFAULT-VALUE}.")
          int newTokens,
      @Option(names = "--samples", defaultValue = "5", description = "Default: ${DEFAULT-VALUE}.") int samples)
      throws Exception {
    LanguageModel model = LoadedModel.await(models, ModelRole.SUGGESTION);
    String text = films(50).stream().map(Document::text).collect(Collectors.joining(" "));
    int[] prompt = Arrays.copyOf(model.tokenizer().encode(text), promptTokens);
    int[] parallel = {1, 4, 8};
    List<Callable<?>> works = new ArrayList<>();
    for (int continuations : parallel) {
      works.add(() -> generate(model, prompt, continuations, 1));
      works.add(() -> generate(model, prompt, continuations, newTokens + 1));
    }
    Medians.warmUp(WARM_UP, works.get(1));
    Medians.warmUp(WARM_UP, works.getLast());
    double[][] millis = Medians.inTurns(samples, works);
    print("| parallel | ms | new tokens/s | ratio to one |");
    print("| --- | --- | --- | --- |");
    double single = Double.NaN;
    for (int i = 0; i < parallel.length; i++) {
      // Time of the prompt alone is taken off, neighbour from neighbour: decode is what is asked for.
      double[] decode = new double[samples];
      for (int sample = 0; sample < samples; sample++) {
        decode[sample] = millis[2 * i + 1][sample] - millis[2 * i][sample];
      }
      double median = Medians.median(decode);
      double rate = (double) parallel[i] * newTokens * 1000 / median;
      single = i == 0 ? rate : single;
      print("| %d | %.0f | %.1f | %.2f |".formatted(parallel[i], median, rate, rate / single));
    }
    return 0;
  }

  private TextGenerator.Generation generate(LanguageModel model, int[] prompt, int parallel, int maxTokens) {
    return generator.generate(
        model,
        List.of(),
        prompt,
        new TextGenerator.Options(parallel, maxTokens, 0.8, 0.95, 1, List.of(), null, null));
  }

  private static List<Document> films(int count) {
    try (Stream<Document> films = MovieCorpus.read()) {
      return films.limit(count).toList();
    }
  }

  private static List<RankCandidate> candidates(List<Document> films, String space) {
    return films.stream()
        .map(film -> new RankCandidate(space + "/" + film.id(), film.title(), film.text()))
        .toList();
  }

  private void print(String line) {
    PrintWriter out = spec.commandLine().getOut();
    out.println(line);
    out.flush();
  }
}
