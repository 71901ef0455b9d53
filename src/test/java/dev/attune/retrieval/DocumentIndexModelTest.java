package dev.attune.retrieval;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.retrieval.DocumentIndex.Filter;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** The index against the plainest model there is: a map, and a scan over its values. */
class DocumentIndexModelTest {

  /** A step of a history. */
  sealed interface Step {
    /** Writes documents. */
    record Put(List<Document> documents, boolean refresh) implements Step {}

    /** Deletes one. */
    record Delete(String id) implements Step {}

    /** Closes and opens again. */
    record Restart() implements Step {}
  }

  @Property(tries = 40)
  void behavesLikeAMap(@ForAll("steps") List<Step> steps) throws IOException {
    Path directory = Files.createTempDirectory("index-model");
    Map<String, Document> model = new HashMap<>();
    LuceneDocumentIndex index = open(directory);
    try {
      for (Step step : steps) {
        switch (step) {
          case Step.Put(List<Document> documents, boolean refresh) -> {
            index.put(documents, refresh);
            documents.forEach(document -> model.put(document.id(), document));
          }
          case Step.Delete(String id) -> assertThat(index.delete(id)).isEqualTo(model.remove(id) != null);
          case Step.Restart() -> {
            index.close();
            index = open(directory);
          }
        }
      }
      index.put(List.of(model.getOrDefault("0", new Document("0", "t", "", null, null, Map.of()))));
      model.putIfAbsent("0", new Document("0", "t", "", null, null, Map.of()));
      Map<String, Document> found = new HashMap<>();
      index.forEach(document -> assertThat(found.put(document.id(), document)).isNull());
      assertThat(found).isEqualTo(model);
      assertThat(index.size()).isEqualTo(model.size());
      for (String id : model.keySet()) {
        assertThat(index.find(id)).contains(model.get(id));
      }
    } finally {
      index.close();
      delete(directory);
    }
  }

  @Property(tries = 40)
  void filtersAgreeWithAScan(
      @ForAll("documents") List<Document> documents, @ForAll("filters") Map<String, Filter> filters)
      throws IOException {
    Path directory = Files.createTempDirectory("index-filters");
    try (LuceneDocumentIndex index = open(directory)) {
      index.put(documents);
      Map<String, Document> model = new HashMap<>();
      documents.forEach(document -> model.put(document.id(), document));
      Set<String> expected = new HashSet<>();
      model.values().stream().filter(passes(filters)).forEach(document -> expected.add(document.id()));
      var result = index.search(new RetrievalRequest("", Mode.LEXICAL, 500, filters, List.of()));
      assertThat(LuceneDocumentIndexTest.ids(result)).containsExactlyInAnyOrderElementsOf(expected);
      assertThat(result.total()).isEqualTo(expected.size());
      var byWord = index.search(new RetrievalRequest("common", Mode.LEXICAL, 500, filters, List.of()));
      assertThat(LuceneDocumentIndexTest.ids(byWord)).containsExactlyInAnyOrderElementsOf(expected);
    } finally {
      delete(directory);
    }
  }

  private static Predicate<Document> passes(Map<String, Filter> filters) {
    return document ->
        filters.entrySet().stream()
            .allMatch(
                entry -> {
                  Object value = document.fields().get(entry.getKey());
                  List<?> values = value == null ? List.of() : value instanceof List<?> many ? many : List.of(value);
                  return switch (entry.getValue()) {
                    case Filter.AnyOf(List<String> wanted) -> values.stream()
                        .anyMatch(v -> wanted.contains(v instanceof Number n ? IndexFields.canonical(n) : v));
                    case Filter.Range(Double gte, Double lte) -> values.stream()
                        .anyMatch(
                            v ->
                                v instanceof Number n
                                    && (gte == null || n.doubleValue() >= gte)
                                    && (lte == null || n.doubleValue() <= lte));
                  };
                });
  }

  @Provide
  Arbitrary<List<Step>> steps() {
    Arbitrary<Step> put =
        Combinators.combine(documents(), Arbitraries.of(true, false)).as(Step.Put::new);
    Arbitrary<Step> delete = Arbitraries.integers().between(0, 9).map(i -> new Step.Delete("" + i));
    return Arbitraries.frequencyOf(
            net.jqwik.api.Tuple.of(6, put),
            net.jqwik.api.Tuple.of(3, delete),
            net.jqwik.api.Tuple.of(1, Arbitraries.just(new Step.Restart())))
        .list()
        .ofMaxSize(10);
  }

  @Provide
  Arbitrary<List<Document>> documents() {
    Arbitrary<Object> value =
        Arbitraries.oneOf(
            Arbitraries.of("red", "blue", "7", ""),
            Arbitraries.longs().between(-3, 8).map(n -> (Object) n),
            Arbitraries.of(0.5, 7.25, -1e18, 1e300).map(n -> (Object) n),
            Arbitraries.of("red", "green").list().ofMaxSize(3).map(list -> (Object) list));
    Arbitrary<Map<String, Object>> fields = Arbitraries.maps(Arbitraries.of("x", "y"), value).ofMaxSize(2);
    return Combinators.combine(
            Arbitraries.integers().between(0, 9).map(String::valueOf), Arbitraries.of("a title", ""), fields)
        .as((id, title, map) -> new Document(id, title, "common text", null, null, map))
        .list()
        .ofMinSize(1)
        .ofMaxSize(8);
  }

  @Provide
  Arbitrary<Map<String, Filter>> filters() {
    Arbitrary<Filter> anyOf =
        Arbitraries.of("red", "blue", "green", "7", "0.5", "none").list().ofMaxSize(3).map(Filter.AnyOf::new);
    Arbitrary<Double> bound = Arbitraries.of(-1e18, -2.0, 0.0, 0.5, 3.0, 7.0).injectNull(0.3);
    Arbitrary<Filter> range = Combinators.combine(bound, bound).as(Filter.Range::new);
    return Arbitraries.maps(Arbitraries.of("x", "y"), Arbitraries.oneOf(anyOf, range)).ofMaxSize(2);
  }

  private static LuceneDocumentIndex open(Path directory) {
    return LuceneDocumentIndex.open(directory, SharedEmbedder.INSTANCE, EmbedMode.NONE, change -> {});
  }

  private static void delete(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(directory);
  }
}
