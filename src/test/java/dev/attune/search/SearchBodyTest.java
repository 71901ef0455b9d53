package dev.attune.search;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.retrieval.DocumentIndex.Filter;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.search.SearchRequest.Personalization;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.http.HttpStatus;
import org.springframework.web.ErrorResponseException;
import tools.jackson.databind.json.JsonMapper;

class SearchBodyTest {

  private static final JsonMapper JSON = JsonMapper.builder().build();

  @Test
  void fillsInDefaults() {
    SearchRequest request = read("{\"query\":\"dune\"}");
    assertThat(request).isEqualTo(SearchRequest.of("dune", null));
  }

  @Test
  void readsEveryField() {
    SearchRequest request =
        read(
            """
            {"query":"dune","userId":"u","sessionId":"s","from":20,"size":5,"candidates":50,"retrieval":"dense",
             "ranking":"retrieval","personalization":"history","explain":true,"budgetMs":250,"facets":["genres"],
             "filters":{"genres":["Drama","Comedy"],"year":{"gte":1990,"lte":2000},"director":"Denis Villeneuve",
             "rating":8}}
            """);
    assertThat(request.retrieval()).isEqualTo(Mode.DENSE);
    assertThat(request.personalization()).isEqualTo(Personalization.HISTORY);
    assertThat(request.budget()).hasMillis(250);
    assertThat(request.filters())
        .isEqualTo(
            Map.of(
                "genres", new Filter.AnyOf(List.of("Drama", "Comedy")),
                "year", new Filter.Range(1990.0, 2000.0),
                "director", new Filter.AnyOf(List.of("Denis Villeneuve")),
                "rating", new Filter.AnyOf(List.of("8"))));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{} | query",
        "{\"query\":\"a\",\"size\":0} | size",
        "{\"query\":\"a\",\"size\":101} | size",
        "{\"query\":\"a\",\"from\":-1} | from",
        "{\"query\":\"a\",\"from\":491} | from",
        "{\"query\":\"a\",\"candidates\":501} | candidates",
        "{\"query\":\"a\",\"retrieval\":\"magic\"} | retrieval",
        "{\"query\":\"a\",\"ranking\":\"\"} | ranking",
        "{\"query\":\"a\",\"personalization\":\"maybe\"} | personalization",
        "{\"query\":\"a\",\"budgetMs\":0} | budgetMs",
        "{\"query\":\"a\",\"facets\":[\"\"]} | facets",
        "{\"query\":\"a\",\"filters\":{\"year\":null}} | filters.year",
        "{\"query\":\"a\",\"filters\":{\"year\":[]}} | filters.year",
        "{\"query\":\"a\",\"filters\":{\"year\":[[1]]}} | filters.year[0]",
        "{\"query\":\"a\",\"filters\":{\"year\":{}}} | filters.year",
        "{\"query\":\"a\",\"filters\":{\"year\":{\"gt\":1}}} | filters.year.gt",
        "{\"query\":\"a\",\"filters\":{\"year\":{\"gte\":\"x\"}}} | filters.year.gte",
        "{\"query\":\"a\",\"filters\":{\"year\":{\"gte\":2,\"lte\":1}}} | filters.year"
      })
  void namesTheFieldAtFault(String json, String field) {
    assertThatThrownBy(() -> read(json))
        .isInstanceOfSatisfying(
            ErrorResponseException.class,
            e -> {
              assertThat(e.getStatusCode()).isEqualTo(HttpStatus.BAD_REQUEST);
              assertThat(e.getBody().getDetail()).startsWith(field + " ");
            });
  }

  @Test
  void refusesQueriesBeyondTheLimit() {
    assertThat(body("x".repeat(10_000)).toRequest().query()).hasSize(10_000);
    assertThatThrownBy(() -> body("x".repeat(10_001)).toRequest())
        .isInstanceOf(ErrorResponseException.class)
        .hasMessageContaining("query");
  }

  @Property
  void acceptsExactlyThePagesWithinTheCandidates(@ForAll("numbers") int from, @ForAll("numbers") int size) {
    SearchBody body =
        new SearchBody("q", null, null, from, size, null, null, null, null, null, null, null, null);
    boolean valid = size >= 1 && size <= 100 && from >= 0 && (long) from + size <= 500;
    try {
      SearchRequest request = body.toRequest();
      assertThat(valid).isTrue();
      assertThat(request.from() + request.size()).isLessThanOrEqualTo(SearchRequest.MAX_CANDIDATES);
    } catch (ErrorResponseException e) {
      assertThat(valid).isFalse();
    }
  }

  @Provide
  Arbitrary<Integer> numbers() {
    return Arbitraries.oneOf(Arbitraries.integers().between(-2, 600), Arbitraries.integers());
  }

  private static SearchBody body(String query) {
    return new SearchBody(query, null, null, null, null, null, null, null, null, null, null, null, null);
  }

  private static SearchRequest read(String json) {
    return JSON.readValue(json, SearchBody.class).toRequest();
  }
}
