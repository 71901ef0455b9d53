package dev.attune.search;

import com.fasterxml.jackson.annotation.JsonInclude;
import dev.attune.knowledge.Mode;
import dev.attune.retrieval.DocumentIndex.FacetCount;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The answer to a search; component names are those of the REST contract.
 *
 * @param queryId new for every request; names the query in events that the client sends
 * @param total matching documents, which may be more than were ranked
 * @param facets by requested field, most frequent first; absent unless asked for
 * @param degraded parts that were missing or late: {@code retrieval}, {@code embedding}, {@code ranking},
 *     {@code personalization}, {@code log}
 * @param memory what the ranker was told about the user, line by line; absent unless explained
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
public record SearchAnswer(
    String queryId,
    long total,
    List<Hit> hits,
    @Nullable Map<String, List<FacetCount>> facets,
    Timings timings,
    Ranking ranking,
    List<String> degraded,
    @Nullable List<String> memory) {

  /**
   * One result.
   *
   * @param snippet HTML-escaped text with matches in {@code <mark>}
   * @param score that ordered the list
   * @param rank one-based, over all pages
   * @param retrievalRank one-based rank before ranking
   * @param why entities of the user that moved this hit, strongest first; empty without personalization
   * @param explanation absent unless asked for
   */
  public record Hit(
      String id,
      String title,
      String snippet,
      @Nullable String url,
      @Nullable String image,
      Map<String, Object> fields,
      double score,
      int rank,
      int retrievalRank,
      Scores scores,
      List<Why> why,
      @JsonInclude(JsonInclude.Include.NON_NULL) @Nullable Explanation explanation) {}

  /**
   * Parts of a score, each on its own scale.
   *
   * @param lexical BM25; null if not found by words
   * @param dense cosine in [-1,1]; null if not found by vectors
   * @param blockrank attention mass, summing to 1 over the documents read; null if not read
   * @param affinity to the user's interests in [0,1]; null without personalization
   */
  public record Scores(
      @Nullable Double lexical, @Nullable Double dense, @Nullable Double blockrank, @Nullable Double affinity) {}

  /**
   * An entity of the user that the document is about.
   *
   * @param events ids of the user's own queries and events behind it, newest first
   */
  public record Why(String entityId, String label, Mode mode, List<String> events) {}

  /**
   * How a score came about.
   *
   * @param retrievalScore of the retriever
   * @param entities contribution to affinity of each entity of the user, in [0,1]
   */
  public record Explanation(double retrievalScore, Map<String, Double> entities) {}

  /** Wall-clock times in milliseconds. */
  public record Timings(long retrieveMs, long rankMs, long totalMs) {}

  /**
   * What ranked the hits.
   *
   * @param model null when no model took part
   * @param attention pattern of the model's attention; null when no model took part
   * @param documents candidates that the model read
   * @param warmDocuments of those, how many had been read before
   */
  public record Ranking(@Nullable String model, @Nullable String attention, int documents, int warmDocuments) {

    static final Ranking NONE = new Ranking(null, null, 0, 0);
  }
}
