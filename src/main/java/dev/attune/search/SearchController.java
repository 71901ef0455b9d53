package dev.attune.search;

import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.util.MultiValueMap;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.mvc.method.annotation.SseEmitter;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;

/** The search resource. */
@RestController
@RequestMapping("/api/v1/search")
@Tag(name = "Search")
class SearchController {

  private static final String FILTER = "filter.";

  private final Searcher searcher;
  private final SearchStream stream;

  SearchController(Searcher searcher, SearchStream stream) {
    this.searcher = searcher;
    this.stream = stream;
  }

  @PostMapping
  @Operation(summary = "Search, rank in context, explain")
  SearchAnswer search(@RequestBody SearchBody body) {
    return searcher.search(body.toRequest());
  }

  @GetMapping
  @Operation(
      summary = "The same search from a link",
      description = "Filters are given as filter.<field>=<value>, repeated for several values.")
  SearchAnswer search(
      @RequestParam @Nullable String q,
      @RequestParam @Nullable String userId,
      @RequestParam @Nullable String sessionId,
      @RequestParam @Nullable Integer from,
      @RequestParam @Nullable Integer size,
      @RequestParam @Nullable Integer candidates,
      @RequestParam @Nullable String retrieval,
      @RequestParam @Nullable String ranking,
      @RequestParam @Nullable String personalization,
      @RequestParam @Nullable List<String> facets,
      @RequestParam @Nullable Boolean explain,
      @RequestParam @Nullable Integer budgetMs,
      @RequestParam MultiValueMap<String, String> all) {
    if (q == null) {
      throw Problems.badField("q", "is missing; an empty text lists all documents");
    }
    SearchBody body =
        new SearchBody(
            q, userId, sessionId, from, size, candidates, retrieval, ranking, personalization, filters(all), facets,
            explain, budgetMs);
    return searcher.search(body.toRequest());
  }

  @PostMapping("/stream")
  @Operation(summary = "Search as server-sent events: retrieved, ranked, suggestions, done")
  SseEmitter stream(@RequestBody SearchBody body) {
    return stream.open(body.toRequest());
  }

  private static Map<String, JsonNode> filters(MultiValueMap<String, String> parameters) {
    Map<String, JsonNode> filters = new HashMap<>();
    parameters.forEach(
        (name, values) -> {
          if (name.startsWith(FILTER) && name.length() > FILTER.length()) {
            ArrayNode array = JsonNodeFactory.instance.arrayNode();
            values.forEach(array::add);
            filters.put(name.substring(FILTER.length()), array);
          }
        });
    return filters;
  }
}
