package dev.attune.search;

import java.util.function.Consumer;

/**
 * Searches: retrieve, rank, explain. Thread-safe. A slow or missing part is left out and named in
 * {@link SearchAnswer#degraded}; it never fails the search.
 */
public interface Searcher {

  SearchAnswer search(SearchRequest request);

  /**
   * The same, handing over the page in retrieval order as soon as it is known. {@code retrieved} may throw to give up.
   */
  SearchAnswer search(SearchRequest request, Consumer<SearchAnswer> retrieved);
}
