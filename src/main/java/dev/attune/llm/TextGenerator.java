package dev.attune.llm;

import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Generates text after a prompt; samples share the prompt's KV and are decoded as one batch. Thread-safe. */
public interface TextGenerator {

  /**
   * Generates {@code options.samples()} continuations.
   *
   * @param prefix segments to start from (for example a user's prompt prefix), may be empty
   * @param tokens the rest of the prompt, at least one token; starts at the position after {@code prefix}
   */
  Generation generate(LanguageModel model, List<KvSegment> prefix, int[] tokens, Options options);

  /**
   * How to decode.
   *
   * @param samples number of parallel continuations; the first is greedy when {@code temperature} is 0
   * @param maxTokens per continuation
   * @param temperature 0 for greedy
   * @param topP nucleus, in (0,1]
   * @param seed same seed, same text
   * @param stop texts that end a continuation; not part of the result
   * @param grammar allowed next characters, or null for any text
   * @param budget time after which unfinished continuations are cut, or null
   */
  record Options(
      int samples,
      int maxTokens,
      double temperature,
      double topP,
      long seed,
      List<String> stop,
      @Nullable LineGrammar grammar,
      @Nullable Duration budget) {}

  /** Constrains the text so far: a token is allowed when the text stays a prefix of something valid. */
  @FunctionalInterface
  interface LineGrammar {
    boolean allows(String text);
  }

  /**
   * What was generated.
   *
   * @param promptTokens tokens of prefix and prompt
   * @param cachedTokens tokens of the prefix
   * @param cacheBytes bytes of KV held at the end
   */
  record Generation(List<Completion> completions, int promptTokens, int cachedTokens, long cacheBytes) {}

  /**
   * One continuation.
   *
   * @param meanLogProbability natural logarithm, per token
   * @param finished false when cut by length or budget
   */
  record Completion(String text, double meanLogProbability, boolean finished) {}
}
