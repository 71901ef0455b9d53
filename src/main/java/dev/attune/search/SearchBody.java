package dev.attune.search;

import dev.attune.retrieval.DocumentIndex;
import dev.attune.search.SearchRequest.Personalization;
import dev.attune.search.SearchRequest.RankingMode;
import dev.attune.searchlog.SearchLog;
import dev.attune.web.Problems;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** The JSON body of a search; every field but {@code query} may be left out. */
public record SearchBody(
    @Nullable String query,
    @Nullable String userId,
    @Nullable String sessionId,
    @Nullable Integer from,
    @Nullable Integer size,
    @Nullable Integer candidates,
    @Nullable String retrieval,
    @Nullable String ranking,
    @Nullable String personalization,
    @Nullable Map<String, JsonNode> filters,
    @Nullable List<String> facets,
    @Nullable Boolean explain,
    @Nullable Integer budgetMs) {

  private static final int MAX_FACETS = 20;
  private static final int MAX_BUDGET = 60_000;

  /**
   * Checks the fields and fills in the defaults.
   *
   * @throws org.springframework.web.ErrorResponseException naming the first field at fault
   */
  public SearchRequest toRequest() {
    if (query == null) {
      throw Problems.badField("query", "is missing; an empty text lists all documents");
    }
    if (query.length() > SearchRequest.MAX_QUERY) {
      throw Problems.badField("query", "is longer than " + SearchRequest.MAX_QUERY + " characters; shorten it");
    }
    int size = number("size", this.size, 10, 1, SearchRequest.MAX_SIZE);
    int from = number("from", this.from, 0, 0, SearchRequest.MAX_CANDIDATES - size);
    List<String> facets = this.facets == null ? List.of() : this.facets;
    if (facets.size() > MAX_FACETS || facets.stream().anyMatch(facet -> facet == null || facet.isBlank())) {
      throw Problems.badField("facets", "must be at most " + MAX_FACETS + " field names");
    }
    return new SearchRequest(
        query,
        id("userId", userId),
        id("sessionId", sessionId),
        from,
        size,
        number("candidates", candidates, 100, 1, SearchRequest.MAX_CANDIDATES),
        choice("retrieval", retrieval, DocumentIndex.Mode.HYBRID),
        choice("ranking", ranking, RankingMode.BLOCKRANK),
        choice("personalization", personalization, Personalization.ON),
        SearchFilters.parse(filters == null ? Map.of() : filters),
        facets,
        Boolean.TRUE.equals(explain),
        budgetMs == null ? null : Duration.ofMillis(number("budgetMs", budgetMs, 0, 1, MAX_BUDGET)),
        true);
  }

  /** An id as given; a blank one counts as none. */
  static @Nullable String id(String field, @Nullable String value) {
    if (value == null || value.isBlank()) {
      return null;
    }
    return Problems.checkText(field, value, SearchLog.MAX_ID);
  }

  private static int number(String field, @Nullable Integer value, int standard, int least, int most) {
    if (value == null) {
      return standard;
    }
    if (value < least || value > most) {
      throw Problems.badField(field, "is " + value + "; it must be between " + least + " and " + most);
    }
    return value;
  }

  private static <E extends Enum<E>> E choice(String field, @Nullable String value, E standard) {
    if (value == null) {
      return standard;
    }
    E[] values = standard.getDeclaringClass().getEnumConstants();
    return Arrays.stream(values)
        .filter(e -> e.name().equals(value.toUpperCase(Locale.ROOT)))
        .findFirst()
        .orElseThrow(
            () ->
                Problems.badField(
                    field,
                    "must be one of "
                        + Arrays.stream(values)
                            .map(e -> e.name().toLowerCase(Locale.ROOT))
                            .collect(Collectors.joining(", "))));
  }
}
