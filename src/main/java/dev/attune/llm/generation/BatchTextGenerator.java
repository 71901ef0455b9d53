package dev.attune.llm.generation;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TextGenerator;
import dev.attune.llm.kv.KvCache;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;

/**
 * Reads the prompt once and decodes all continuations as one batch: a step streams the weights through the caches once,
 * whatever the number of continuations.
 */
public final class BatchTextGenerator implements TextGenerator {

  @Override
  public Generation generate(LanguageModel model, List<KvSegment> prefix, int[] tokens, Options options) {
    long start = System.nanoTime();
    InferenceBackend backend = model.backend();
    int layers = model.config().layers();
    int cached = prefix.stream().mapToInt(KvSegment::tokens).sum();
    KvCache cache = KvCache.of(model, prefix);
    int first = cache.nextPosition();
    int room = model.config().context() - first - tokens.length;

    PassResult prompt =
        backend.run(List.of(new Pass(tokens, first, prefix, layers, true, Logits.LAST, null))).getFirst();
    cache.append(Objects.requireNonNull(prompt.kv()));
    cache.endPrompt();

    List<Continuation> all = IntStream.range(0, options.samples())
        .mapToObj(i -> new Continuation(model.tokenizer(), options, i, cache.fork()))
        .toList();
    for (Continuation continuation : all) {
      continuation.extend(new NextTokens(prompt.logits()[0]));
    }
    List<Continuation> open;
    while (!(open = open(all, room)).isEmpty() && withinBudget(options, start)) {
      List<Pass> passes = new ArrayList<>();
      for (Continuation continuation : open) {
        List<KvSegment> context = continuation.cache().segments();
        int position = first + tokens.length + continuation.length() - 1;
        passes.add(
            new Pass(new int[] {continuation.lastToken()}, position, context, layers, true, Logits.LAST, null));
      }
      List<PassResult> results = backend.run(passes);
      for (int i = 0; i < results.size(); i++) {
        open.get(i).cache().append(Objects.requireNonNull(results.get(i).kv()));
        open.get(i).extend(new NextTokens(results.get(i).logits()[0]));
      }
    }
    long bytes = KvCache.bytes(all.stream().map(Continuation::cache).toList());
    return new Generation(
        all.stream().map(Continuation::completion).toList(), cached + tokens.length, cached, bytes);
  }

  /** Those that want another token and have positions left for it. */
  private static List<Continuation> open(List<Continuation> all, int room) {
    return all.stream().filter(continuation -> continuation.open() && continuation.length() <= room).toList();
  }

  private static boolean withinBudget(Options options, long start) {
    return options.budget() == null || System.nanoTime() - start < options.budget().toNanos();
  }
}
