package dev.attune.retrieval;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
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

  /** Visits every document of one snapshot of the index. */
  void forEach(Consumer<Document> visitor);

  RetrievalResult search(RetrievalRequest request);

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
   * @param limit number of candidates, 1 to 500
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
   * @param total matching documents, for dense retrieval the number of candidates
   */
  record RetrievalResult(long total, List<Candidate> candidates, Map<String, List<FacetCount>> facets) {}

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

  /** How many matching documents hold a value. */
  record FacetCount(String value, long count) {}
}
