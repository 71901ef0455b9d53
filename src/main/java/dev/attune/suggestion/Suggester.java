package dev.attune.suggestion;

import dev.attune.knowledge.Mode;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Suggests next queries in the context of a user (K-LaMP, arXiv 2311.06318). Thread-safe. */
public interface Suggester {

  Suggestions suggest(SuggestionRequest request);

  /** The same, handing over every suggestion as soon as it is final. */
  Suggestions suggest(SuggestionRequest request, Consumer<Suggestion> each);

  /** The same for somebody who looks on: it leaves no trace, not even a prompt kept ready, and shows the prompt. */
  Suggestions simulate(SuggestionRequest request);

  /**
   * The context.
   *
   * @param userId null for an anonymous request: no store is read
   * @param page title and text of the page the user is on; null if none
   */
  record SuggestionRequest(
      @Nullable String userId,
      @Nullable String sessionId,
      @Nullable String query,
      @Nullable String documentId,
      @Nullable Page page,
      int size,
      Set<Mode> modes,
      @Nullable Duration budget) {}

  /** A page that is not in the index. */
  record Page(String title, String text) {}

  /**
   * One suggestion.
   *
   * @param mode null when it came from no entity
   * @param rationale one plain sentence for the user
   * @param score in [0,1], descending over the list
   * @param events ids of the user's own queries and events that led to it
   */
  record Suggestion(
      String text,
      @Nullable Mode mode,
      String rationale,
      double score,
      List<EntityRef> entities,
      List<String> events,
      String source) {}

  /** An entity that a suggestion uses. */
  record EntityRef(String id, String label) {}

  /**
   * The answer; fields as in the REST contract.
   *
   * @param prompt of a simulation in which a model took part, else null
   */
  record Suggestions(
      List<Suggestion> suggestions,
      int promptTokens,
      int cachedTokens,
      String cachePolicy,
      long cacheBytes,
      long cacheFullBytes,
      Map<String, Long> timings,
      List<String> degraded,
      @Nullable GivenPrompt prompt) {}

  /**
   * What the model was given, control tokens included.
   *
   * @param shared read once for all suggestions
   * @param continuations what stood behind it, in the order asked for
   */
  record GivenPrompt(String shared, List<Continuation> continuations) {}

  /**
   * The end of the prompt of one suggestion.
   *
   * @param tokens its length
   */
  record Continuation(EntityRef entity, String text, int tokens) {}
}
