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
   * @param samples number of parallel continuations
   * @param maxTokens per continuation
   * @param temperature 0 for greedy; continuation {@code i} then starts with the {@code i}-th most probable token, as
   *     they would all be the same otherwise
   * @param topP nucleus, in (0,1]: tokens are considered from the most probable down until their probability reaches
   *     this and one is allowed; those of them that the grammar allows are drawn from
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
      @Nullable Duration budget) {

    public Options {
      stop = List.copyOf(stop);
      require(samples >= 1, "samples", samples);
      require(maxTokens >= 1, "maxTokens", maxTokens);
      require(temperature >= 0 && temperature < Double.POSITIVE_INFINITY, "temperature", temperature);
      require(topP > 0 && topP <= 1, "topP", topP);
      if (stop.contains("")) {
        throw new IllegalArgumentException("A stop text is empty");
      }
    }

    private static void require(boolean condition, String name, Object value) {
      if (!condition) {
        throw new IllegalArgumentException(name + " is out of range: " + value);
      }
    }
  }

  /** Constrains the text so far: a token is allowed when the text stays a prefix of something valid. */
  @FunctionalInterface
  interface LineGrammar {
    boolean allows(String text);

    /** Whether the text may end here. */
    default boolean mayEndAfter(String text) {
      return true;
    }
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
   * @param text ends before a stop text, never within a character
   * @param meanLogProbability natural logarithm under the model alone, per token, the ending one included
   * @param finished false when cut by length or budget, or when the grammar allowed nothing more
   */
  record Completion(String text, double meanLogProbability, boolean finished) {}
}
