package dev.attune.search;

import dev.attune.knowledge.Mode;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.suggestion.Suggester.SuggestionRequest;
import java.time.Duration;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A checked search request.
 *
 * @param query what the user typed; a blank one lists the documents that pass the filters
 * @param userId null for an anonymous request: nothing is read from or written to any store
 * @param from zero-based rank of the first hit
 * @param size number of hits, 1 to 100
 * @param candidates how many documents are retrieved and ranked, 1 to 500
 * @param filters by field name; a hit passes all
 * @param facets fields whose values are counted
 * @param explain whether every hit carries the parts of its score
 * @param budget time for the whole request; null for {@code attune.search.budget}
 * @param record whether this is a search of the user: logged, counted, and on their turn at the model
 */
public record SearchRequest(
    String query,
    @Nullable String userId,
    @Nullable String sessionId,
    int from,
    int size,
    int candidates,
    DocumentIndex.Mode retrieval,
    RankingMode ranking,
    Personalization personalization,
    Map<String, DocumentIndex.Filter> filters,
    List<String> facets,
    boolean explain,
    @Nullable Duration budget,
    boolean record) {

  /** Longest query in UTF-16 units. */
  public static final int MAX_QUERY = 10_000;

  public static final int MAX_SIZE = 100;
  public static final int MAX_CANDIDATES = 500;

  public SearchRequest {
    filters = Map.copyOf(filters);
    facets = List.copyOf(facets);
  }

  /** A request with the defaults of the REST contract; logged. */
  public static SearchRequest of(String query, @Nullable String userId) {
    return new SearchRequest(
        query, userId, null, 0, 10, 100, DocumentIndex.Mode.HYBRID, RankingMode.BLOCKRANK, Personalization.ON,
        Map.of(), List.of(), false, null, true);
  }

  /**
   * The same request as a simulation: explained, and no search of anybody.
   *
   * @param standard budget where the request names none
   */
  SearchRequest simulated(Duration standard) {
    return new SearchRequest(
        query, userId, sessionId, from, size, candidates, retrieval, ranking, personalization, filters, facets, true,
        budget == null ? standard : budget, false);
  }

  /** The same request of nobody. */
  SearchRequest withoutUser() {
    return new SearchRequest(
        query, null, null, from, size, candidates, retrieval, ranking, personalization, filters, facets, explain,
        budget, record);
  }

  /** The request for suggestions that goes with it. */
  SuggestionRequest suggestions(int most, @Nullable Duration limit) {
    boolean personal = personalization != Personalization.OFF;
    Set<Mode> modes =
        personalization == Personalization.HISTORY
            ? EnumSet.of(Mode.FAMILIAR, Mode.LAPSED)
            : EnumSet.allOf(Mode.class);
    return new SuggestionRequest(
        personal ? userId : null, personal ? sessionId : null, query, null, null, most, modes, limit);
  }

  /** Which order the hits come in. */
  public enum RankingMode {
    /** Retrieval, BlockRank and affinity fused. */
    BLOCKRANK,
    /** The order of the retriever, untouched. */
    RETRIEVAL
  }

  /** What may be used of the user. */
  public enum Personalization {
    /** The user's entities, their neighbours and what goes together with them. */
    ON,
    /** Nothing: the answer is identical for everybody. */
    OFF,
    /** Only entities of the user's own events. */
    HISTORY
  }
}
