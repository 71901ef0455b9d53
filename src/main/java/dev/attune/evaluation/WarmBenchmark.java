package dev.attune.evaluation;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.InferenceBackend.Work;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.kv.KvCodec;
import dev.attune.ranking.PromptTokens;
import dev.attune.retrieval.Document;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/** Times the last block of a ranking prompt over documents that were read before. */
final class WarmBenchmark {

  private static final String QUERY = "a space crew fights for survival on a hostile planet ";
  private static final double TENTH = 0.1;

  private final InferenceBackend backend;
  private final PromptTokens prompt;
  private final int samples;
  private final int[] last;
  private final int[] signals;
  private final KvSegment instruction;
  private final List<int[]> documents;

  WarmBenchmark(LanguageModel model, PromptTokens prompt, List<Document> films, int lastTokens, int samples) {
    this.backend = model.backend();
    this.prompt = prompt;
    this.samples = samples;
    PromptTokens.Last block = prompt.last(QUERY.repeat(8), List.of());
    // The answer frame stays at the end; words of the query are left out until the length is right.
    int cut = Math.max(0, block.tokens().length - lastTokens);
    int queryEnd = block.signals()[block.signals().length - 1] + 1;
    this.last = IntStream.range(0, block.tokens().length)
        .filter(i -> i < queryEnd - cut || i >= queryEnd).map(i -> block.tokens()[i]).toArray();
    this.signals = Arrays.stream(block.signals()).filter(i -> i < queryEnd - cut).toArray();
    this.instruction = read(List.of(new Pass(
        prompt.instruction(), 0, List.of(), prompt.layer(), true, Logits.NONE, null))).getFirst();
    // Every block as long as the longest that the service reads.
    this.documents = films.stream().map(film -> prompt.document(film.title(), (film.text() + " ").repeat(8))).toList();
  }

  private List<KvSegment> read(List<Pass> passes) {
    return backend.run(passes).stream().map(result -> Objects.requireNonNull(result.kv())).toList();
  }

  private List<KvSegment> readDocuments(int count) {
    List<Pass> passes = documents.subList(0, count).stream().map(tokens -> new Pass(
        tokens, instruction.tokens(), List.of(instruction), prompt.layer(), true, Logits.NONE, null)).toList();
    return read(passes);
  }

  private float[] score(List<KvSegment> segments) {
    List<KvSegment> context = new ArrayList<>(segments);
    context.add(instruction);
    Probe probe = new Probe(signals, IntStream.range(0, segments.size()).toArray());
    return backend.run(List.of(new Pass(
        last, prompt.lastPosition(), context, prompt.layer(), false, Logits.NONE, probe))).getFirst().attention();
  }

  void print(List<Integer> lengths, Consumer<String> out) throws Exception {
    out.accept("| documents | kept | tokens a document | ms | cold / this | MB of documents | GFLOP | MB read "
        + "| rank correlation with as read |");
    out.accept("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    Medians.warmUp(BenchCommand.WARM_UP, () -> score(readDocuments(Math.min(8, documents.size()))));
    for (int length : lengths) {
      long start = System.nanoTime();
      List<KvSegment> whole = readDocuments(length);
      score(whole);
      double cold = (System.nanoTime() - start) / 1e6;
      out.accept("| %d | read now (cold) | %.0f | %.0f | 1.0 | | | | |"
          .formatted(length, meanSlots(whole), cold));
      List<KvSegment> quantised = whole.stream().map(segment -> backend.recode(segment, KvCodec.INT8)).toList();
      List<KvSegment> tenth = new ArrayList<>();
      for (int i = 0; i < length; i++) {
        tenth.add(backend.select(quantised.get(i), prompt.kept(documents.get(i), TENTH)));
      }
      float[] expected = score(whole);
      row(length, "all, as read", whole, cold, expected, out);
      row(length, "all, int8", quantised, cold, expected, out);
      row(length, "one in ten, int8", tenth, cold, expected, out);
    }
  }

  private void row(
      int length, String name, List<KvSegment> segments, double cold, float[] expected, Consumer<String> out)
      throws Exception {
    Work before = backend.work();
    float[] scores = score(segments);
    Work after = backend.work();
    double millis = Medians.millis(2, samples, () -> score(segments));
    out.accept("| %d | %s | %.0f | %.1f | %.1f | %.1f | %.2f | %.1f | %.4f |".formatted(
        length, name, meanSlots(segments), millis, cold / millis,
        segments.stream().mapToLong(KvSegment::bytes).sum() / 1e6,
        (after.attentionFlops() + after.projectionFlops() - before.attentionFlops() - before.projectionFlops()) / 1e9,
        (after.cacheBytes() - before.cacheBytes()) / 1e6, correlation(expected, scores)));
  }

  private static double meanSlots(List<KvSegment> segments) {
    return segments.stream().mapToInt(KvSegment::meanSlots).average().orElse(0);
  }

  /** Spearman's rank correlation. */
  private static double correlation(float[] a, float[] b) {
    int[] x = ranks(a);
    int[] y = ranks(b);
    double squares = 0;
    for (int i = 0; i < x.length; i++) {
      squares += Math.pow(x[i] - y[i], 2);
    }
    double n = x.length;
    return 1 - 6 * squares / (n * (n * n - 1));
  }

  private static int[] ranks(float[] values) {
    int[] ranks = new int[values.length];
    int[] order = IntStream.range(0, values.length).boxed()
        .sorted((i, j) -> Float.compare(values[j], values[i])).mapToInt(Integer::intValue).toArray();
    for (int i = 0; i < order.length; i++) {
      ranks[order[i]] = i;
    }
    return ranks;
  }
}
