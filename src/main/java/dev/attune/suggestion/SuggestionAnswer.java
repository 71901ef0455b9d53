package dev.attune.suggestion;

import dev.attune.suggestion.Suggester.Suggestion;
import dev.attune.suggestion.Suggester.Suggestions;
import java.util.List;
import java.util.Map;

/**
 * Suggestions in the shape of the REST contract.
 *
 * @param timings milliseconds by phase
 */
public record SuggestionAnswer(
    List<Suggestion> suggestions, Prompt prompt, Cache cache, Map<String, Long> timings, List<String> degraded) {

  /** What is answered when suggesting failed as a whole. */
  public static final SuggestionAnswer NONE =
      new SuggestionAnswer(List.of(), new Prompt(0, 0), new Cache("none", 0, 0), Map.of(), List.of("suggestions"));

  public static SuggestionAnswer of(Suggestions s) {
    return new SuggestionAnswer(
        s.suggestions(),
        new Prompt(s.promptTokens(), s.cachedTokens()),
        new Cache(s.cachePolicy(), s.cacheBytes(), s.cacheFullBytes()),
        s.timings(),
        s.degraded());
  }

  /**
   * Size of the prompt.
   *
   * @param cachedTokens of those, how many needed no reading
   */
  public record Prompt(int tokens, int cachedTokens) {}

  /**
   * Memory of the attention.
   *
   * @param fullBytes what the same tokens take uncompressed in 16 bits
   */
  public record Cache(String policy, long bytes, long fullBytes) {}
}
