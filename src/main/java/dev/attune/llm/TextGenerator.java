package dev.attune.llm;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Generates text after prompts. Everything of one call is decoded as one batch over what the prompts share; what a
 * prompt gives does not depend on the others. Thread-safe.
 */
public interface TextGenerator {

  /**
   * Generates continuations of several prompts with a common beginning.
   *
   * @param prefix segments that all prompts start from (for example a user's prompt prefix), may be empty
   * @param each called on this thread with the outcome of a prompt as soon as its last continuation has ended, at the
   *     latest when the call ends; after an answer of false nothing more is generated and handed over
   */
  void generate(LanguageModel model, List<KvSegment> prefix, List<Prompt> prompts, Listener each);

  /** The same for one prompt. */
  default Generation generate(LanguageModel model, List<KvSegment> prefix, int[] tokens, Options options) {
    List<Generation> outcome = new ArrayList<>();
    generate(model, prefix, List.of(new Prompt(tokens, options)), (prompt, generation) -> outcome.add(generation));
    return outcome.getFirst();
  }

  /**
   * The rest of a prompt and how to go on from it.
   *
   * @param tokens at least one; the first is at the position after the prefix
   */
  record Prompt(int[] tokens, Options options) {}

  /** Takes what was generated for a prompt. */
  @FunctionalInterface
  interface Listener {
    /**
     * A prompt is done.
     *
     * @param prompt index of the prompt
     * @return whether to go on with the others
     */
    boolean finished(int prompt, Generation generation);
  }

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
   * @param budget time after the call after which unfinished continuations are cut, or null
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
   * @param cacheBytes bytes of KV held for this prompt at the end, the prefix included
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
