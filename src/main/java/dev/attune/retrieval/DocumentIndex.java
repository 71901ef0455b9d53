package dev.attune.retrieval;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.LongPredicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The documents that can be found. Thread-safe; writes are durable and visible when the call returns. */
public interface DocumentIndex {

  /** Adds or replaces documents by id. */
  void put(List<Document> documents);

  Optional<Document> find(String id);

  /** Documents that exist among the ids, in the order of the ids. */
  List<Document> findAll(List<String> ids);

  /** Returns whether the document existed. */
  boolean delete(String id);

  long size();

  /**
   * Writes every document into the index again, as it was sent and with its vector, and tells the listener of changes;
   * a document that is written meanwhile stays as it is written.
   *
   * @param progress asked after each batch with the number of documents so far; false ends the work
   * @return how many documents were written
   */
  long reindex(LongPredicate progress);

  /** Visits every document of one snapshot of the index. */
  void forEach(Consumer<Document> visitor);

  /**
   * Finds candidates. The query is plain text, whatever characters it holds; only its first 256 words count. A query
   * without a letter or digit has no neighbours; a blank one matches every document that passes the filters.
   */
  RetrievalResult search(RetrievalRequest request);

  /** How far the background job is that computes vectors; documents are found by words before it reaches them. */
  EmbeddingProgress embeddingProgress();

  /** How candidates are found. */
  enum Mode {
    /** BM25. */
    LEXICAL,
    /** Nearest neighbours of the query's embedding. */
    DENSE,
    /** Both, fused by reciprocal rank. */
    HYBRID
  }

  /**
   * A request for candidates.
   *
   * @param limit number of candidates; below 1 counts as 1, above 500 as 500
   * @param filters by field name; a document must pass all
   * @param facets fields to count values of; empty for none
   */
  record RetrievalRequest(String query, Mode mode, int limit, Map<String, Filter> filters, List<String> facets) {}

  /** A condition on one field. */
  sealed interface Filter {
    /** The field holds one of these values. */
    record AnyOf(List<String> values) implements Filter {}

    /** The numeric field lies in the closed range; null leaves a side open. */
    record Range(@Nullable Double gte, @Nullable Double lte) implements Filter {}
  }

  /**
   * The candidates, best first.
   *
   * @param total documents that match a word; for dense retrieval the number of neighbours; for hybrid the union
   * @param facets counts over the documents of the total, most frequent first
   * @param degraded parts that failed, so that the answer was made without them: {@code embedding}
   */
  record RetrievalResult(
      long total, List<Candidate> candidates, Map<String, List<FacetCount>> facets, List<String> degraded) {

    public RetrievalResult(long total, List<Candidate> candidates, Map<String, List<FacetCount>> facets) {
      this(total, candidates, facets, List.of());
    }
  }

  /**
   * One candidate.
   *
   * @param rank one-based
   * @param score the score that ordered the list
   * @param lexical BM25 score, null if not found by BM25
   * @param dense cosine similarity in [-1,1], null if not found by vectors
   * @param snippet HTML-escaped text with matches in {@code <mark>}
   */
  record Candidate(
      Document document, int rank, double score, @Nullable Double lexical, @Nullable Double dense, String snippet) {}

  /**
   * State of the vectors.
   *
   * @param embedded documents that have what they need
   * @param total documents in the index
   * @param running whether vectors are being computed now
   * @param documentsPerSecond of the current or last run, 0 before the first
   * @param error why the last run stopped early, null if it did not
   */
  record EmbeddingProgress(
      long embedded, long total, boolean running, double documentsPerSecond, @Nullable String error) {}

  /** How many matching documents hold a value. */
  record FacetCount(String value, long count) {}
}
