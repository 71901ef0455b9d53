package dev.attune.llm.generation;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TextGenerator;
import dev.attune.llm.kv.KvCache;
import dev.attune.llm.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Reads all prompts together and decodes all their continuations as one batch: a step streams the weights through the
 * processor's caches once, whatever the number of continuations.
 */
public final class BatchTextGenerator implements TextGenerator {

  private volatile @Nullable TokenTexts texts;

  @Override
  public void generate(LanguageModel model, List<KvSegment> prefix, List<Prompt> prompts, Listener each) {
    if (prompts.isEmpty()) {
      return;
    }
    long start = System.nanoTime();
    InferenceBackend backend = model.backend();
    int layers = model.config().layers();
    KvCache before = KvCache.of(model, prefix);
    int first = before.nextPosition();
    List<PassResult> read = backend.run(prompts.stream()
        .map(prompt -> new Pass(prompt.tokens(), first, prefix, layers, true, Logits.LAST, null))
        .toList());
    TokenTexts tokenTexts = texts(model.tokenizer());
    List<Branch> branches = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      int room = model.config().context() - first - prompts.get(i).tokens().length;
      branches.add(new Branch(i, prompts.get(i), before, read.get(i), room, tokenTexts));
    }
    List<Branch> open = new ArrayList<>(branches);
    while (true) {
      List<Branch> done = open.stream().filter(branch -> branch.done(start)).toList();
      open.removeAll(done);
      for (Branch branch : done) {
        if (!each.finished(branch.index, branch.generation())) {
          return;
        }
      }
      if (open.isEmpty()) {
        return;
      }
      step(backend, layers, open);
    }
  }

  /** Adds a token to every open continuation. */
  private static void step(InferenceBackend backend, int layers, List<Branch> open) {
    List<Pass> passes = new ArrayList<>();
    List<Continuation> continuations = new ArrayList<>();
    for (Branch branch : open) {
      for (Continuation continuation : branch.open()) {
        int position = branch.firstPosition + continuation.length() - 1;
        passes.add(new Pass(new int[] {continuation.lastToken()}, position, continuation.cache().segments(), layers,
            true, Logits.LAST, null));
        continuations.add(continuation);
      }
    }
    List<PassResult> results = backend.run(passes);
    for (int i = 0; i < results.size(); i++) {
      continuations.get(i).cache().append(Objects.requireNonNull(results.get(i).kv()));
      continuations.get(i).extend(new NextTokens(results.get(i).logits()[0]));
    }
  }

  private TokenTexts texts(Tokenizer tokenizer) {
    TokenTexts known = texts;
    if (known == null || !known.of(tokenizer)) {
      known = new TokenTexts(tokenizer);
      texts = known;
    }
    return known;
  }

  /** The continuations of one prompt. */
  private static final class Branch {
    final int index;
    final Options options;
    final int firstPosition;
    final List<Continuation> all = new ArrayList<>();
    private final int cached;
    private final int promptTokens;
    private final int room;

    Branch(int index, Prompt prompt, KvCache before, PassResult read, int room, TokenTexts texts) {
      this.index = index;
      this.options = prompt.options();
      this.room = room;
      this.firstPosition = before.nextPosition() + prompt.tokens().length;
      this.cached = before.segments().stream().mapToInt(KvSegment::tokens).sum();
      this.promptTokens = cached + prompt.tokens().length;
      KvCache cache = before.fork();
      cache.append(Objects.requireNonNull(read.kv()));
      cache.endPrompt();
      for (int sample = 0; sample < options.samples(); sample++) {
        Continuation continuation = new Continuation(texts, options, sample, cache.fork());
        continuation.extend(new NextTokens(read.logits()[0]));
        all.add(continuation);
      }
    }

    /** Those that want another token and have positions left for it. */
    List<Continuation> open() {
      return all.stream().filter(continuation -> continuation.open() && continuation.length() <= room).toList();
    }

    boolean done(long start) {
      boolean late = options.budget() != null && System.nanoTime() - start >= options.budget().toNanos();
      return late || open().isEmpty();
    }

    Generation generation() {
      long bytes = KvCache.bytes(all.stream().map(Continuation::cache).toList());
      return new Generation(all.stream().map(Continuation::completion).toList(), promptTokens, cached, bytes);
    }
  }
}
