package dev.attune.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.FacetCount;
import dev.attune.retrieval.DocumentIndex.Filter;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import dev.attune.retrieval.DocumentIndex.RetrievalResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LuceneDocumentIndexTest {

  private static final List<Document> FILMS =
      List.of(
          film("1", "Blade Runner", "A blade runner must pursue and terminate four replicants.", "Ridley Scott", 1982),
          film("2", "Alien", "The crew of a spaceship meets a deadly creature. It hunts them.", "Ridley Scott", 1979),
          film("3", "Amélie", "A waitress in Paris decides to help the people around her.", "Jean-Pierre Jeunet", 2001),
          film("4", "It", "In the town of Derry children fight a clown.", "Andy Muschietti", 2017),
          film(
              "5", "Star Wars", "A farm boy joins a princess & a smuggler <against> an empire.", "George Lucas", 1977));

  @TempDir Path directory;
  private LuceneDocumentIndex index;
  private final List<DocumentsChanged> changes = new ArrayList<>();

  @BeforeEach
  void open() {
    index = LuceneDocumentIndex.open(directory, SharedEmbedder.INSTANCE, EmbedMode.INLINE, changes::add);
  }

  @AfterEach
  void close() {
    index.close();
  }

  @Test
  void findsByWordsInTitleTextAndFields() {
    index.put(FILMS);
    assertThat(ids(search("replicant", Mode.LEXICAL))).containsExactly("1");
    assertThat(ids(search("amelie", Mode.LEXICAL))).containsExactly("3");
    assertThat(ids(search("ridley", Mode.LEXICAL))).containsExactlyInAnyOrder("1", "2");
    RetrievalResult result = search("spaceship replicants", Mode.LEXICAL);
    assertThat(result.total()).isEqualTo(2);
    assertThat(result.candidates()).allSatisfy(c -> {
      assertThat(c.lexical()).isEqualTo(c.score());
      assertThat(c.dense()).isNull();
    });
  }

  @Test
  void findsByMeaning() {
    index.put(FILMS);
    RetrievalResult result = search("extraterrestrial monster kills astronauts", Mode.DENSE);
    Candidate best = result.candidates().getFirst();
    assertThat(best.document().id()).isEqualTo("2");
    assertThat(best.lexical()).isNull();
    List<float[]> vectors =
        SharedEmbedder.INSTANCE.embed(
            List.of("extraterrestrial monster kills astronauts", "Alien " + FILMS.get(1).text()));
    double cosine = 0;
    for (int i = 0; i < vectors.get(0).length; i++) {
      cosine += vectors.get(0)[i] * vectors.get(1)[i];
    }
    assertThat(best.dense()).isCloseTo(cosine, within(1e-5));
  }

  @Test
  void hybridHoldsBothScores() {
    index.put(FILMS);
    RetrievalResult result = search("princess", Mode.HYBRID);
    Candidate best = result.candidates().getFirst();
    assertThat(best.document().id()).isEqualTo("5");
    assertThat(best.lexical()).isPositive();
    assertThat(best.dense()).isBetween(-1.0, 1.0);
    assertThat(best.score()).isCloseTo(2 / 61.0, within(1e-12));
    assertThat(result.candidates()).extracting(Candidate::rank).containsExactly(1, 2, 3, 4, 5);
    assertThat(result.total()).isEqualTo(5);
    assertThat(result.degraded()).isEmpty();
  }

  @Test
  void stopWordsAreFoundWhenThereIsNothingElse() {
    index.put(FILMS);
    assertThat(ids(search("it", Mode.LEXICAL)).getFirst()).isEqualTo("4");
    assertThat(ids(search("the", Mode.LEXICAL))).isNotEmpty();
  }

  @Test
  void aTypingErrorIsForgivenWhenNothingMatches() {
    index.put(FILMS);
    assertThat(ids(search("prinsess", Mode.LEXICAL))).containsExactly("5");
    assertThat(ids(search("qqqqqqqq", Mode.LEXICAL))).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void queriesArePlainTextOfAnySize(Mode mode) {
    index.put(FILMS);
    List<String> queries =
        List.of(
            "title:(alien) AND -x OR \"", "a*b?c~ [1 TO 2] {x} ^4 \\ / && || !", "+-", "🚀🎬", "\u0000\u0007", " \t\n",
            "", "alien ".repeat(170_000), "x".repeat(1_000_000), randomWords(100_000), "\uD800 lone");
    for (String query : queries) {
      assertThat(search(query, mode).candidates().size()).isLessThanOrEqualTo(5);
    }
    assertThat(ids(search("title:(alien) AND -x OR \"", mode)).getFirst()).isEqualTo("2");
    assertThat(ids(search("alien ".repeat(170_000), mode)).getFirst()).isEqualTo("2");
    assertThat(search("🚀🎬", mode).candidates()).isEmpty();
    assertThat(search("", mode).total()).isEqualTo(5);
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void anEmptyIndexFindsNothing(Mode mode) {
    RetrievalResult result =
        index.search(new RetrievalRequest("alien", mode, 10, Map.of("x", new Filter.Range(1.0, null)), List.of("x")));
    assertThat(result.total()).isZero();
    assertThat(result.candidates()).isEmpty();
    assertThat(result.facets()).containsEntry("x", List.of());
    assertThat(result.degraded()).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(Mode.class)
  void filtersHoldInEveryMode(Mode mode) {
    index.put(FILMS);
    assertThat(
            ids(
                index.search(
                    new RetrievalRequest(
                        "film about a creature or a runner",
                        mode,
                        10,
                        Map.of(
                            "director", new Filter.AnyOf(List.of("Ridley Scott", "nobody")),
                            "year", new Filter.Range(1980.0, null)),
                        List.of()))))
        .containsExactly("1");
    RetrievalResult none =
        index.search(
            new RetrievalRequest("alien", mode, 10, Map.of("nofield", new Filter.AnyOf(List.of("x"))), List.of()));
    assertThat(none.candidates()).isEmpty();
    assertThat(none.total()).isZero();
  }

  @Test
  void numbersCanBeFilteredByValue() {
    index.put(FILMS);
    assertThat(
            ids(
                index.search(
                    new RetrievalRequest(
                        "", Mode.LEXICAL, 10, Map.of("year", new Filter.AnyOf(List.of("1979", "2001"))), List.of()))))
        .containsExactlyInAnyOrder("2", "3");
  }

  @Test
  void countsFacets() {
    index.put(FILMS);
    RetrievalResult result =
        index.search(new RetrievalRequest("", Mode.LEXICAL, 2, Map.of(), List.of("director", "none")));
    assertThat(result.facets().get("director").getFirst()).isEqualTo(new FacetCount("Ridley Scott", 2));
    assertThat(result.facets().get("director")).hasSize(4);
    assertThat(result.facets().get("none")).isEmpty();
  }

  @Test
  void snippetsAreEscapedAndMarked() {
    index.put(FILMS);
    assertThat(search("princess smugglers", Mode.LEXICAL).candidates().getFirst().snippet())
        .isEqualTo(
            "A farm boy joins a <mark>princess</mark> &amp; a <mark>smuggler</mark> &lt;against&gt; an empire.");
    assertThat(search("lucas", Mode.LEXICAL).candidates().getFirst().snippet())
        .isEqualTo("A farm boy joins a princess &amp; a smuggler &lt;against&gt; an empire.");
  }

  @Test
  void aFieldMayHoldAnything() {
    index.put(
        List.of(
            document("a", Map.of("x", "red")),
            document("b", Map.of("x", 7L)),
            document("c", Map.of("x", List.of("red", "blue"))),
            document("d", Map.of("x", 7.5)),
            document("e", Map.of("x", "long ".repeat(20_000)))));
    assertThat(filtered("x", new Filter.AnyOf(List.of("red")))).containsExactlyInAnyOrder("a", "c");
    assertThat(filtered("x", new Filter.AnyOf(List.of("7")))).containsExactly("b");
    assertThat(filtered("x", new Filter.Range(7.0, 8.0))).containsExactlyInAnyOrder("b", "d");
    assertThat(index.find("d").orElseThrow().fields()).containsEntry("x", 7.5);
  }

  @Test
  void survivesRestartAndTellsListeners() {
    index.put(FILMS);
    assertThat(index.delete("3")).isTrue();
    assertThat(index.delete("3")).isFalse();
    assertThat(changes)
        .containsExactly(new DocumentsChanged(FILMS, List.of()), new DocumentsChanged(List.of(), List.of("3")));
    index.close();
    open();
    assertThat(index.size()).isEqualTo(4);
    assertThat(index.find("1")).contains(FILMS.getFirst());
    assertThat(index.findAll(List.of("5", "3", "1"))).extracting(Document::id).containsExactly("5", "1");
    assertThat(ids(search("creature", Mode.DENSE))).hasSize(4);
  }

  /** What a killed process leaves: files of the last commit, more files, and a lock file that nobody holds. */
  @Test
  void opensWhatAKilledProcessLeft() throws IOException {
    index.put(FILMS);
    Path copy = Files.createDirectory(directory.resolveSibling(directory.getFileName() + "-killed"));
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    Files.writeString(copy.resolve("_zz.tmp"), "half a segment");
    try (var reopened = LuceneDocumentIndex.open(copy, SharedEmbedder.INSTANCE, EmbedMode.INLINE, c -> {})) {
      assertThat(reopened.size()).isEqualTo(5);
    }
  }

  @Test
  void saysWhatIsWrongWithTheDirectory() throws IOException {
    index.put(FILMS);
    assertThatIllegalStateException()
        .isThrownBy(
            () -> LuceneDocumentIndex.open(directory, SharedEmbedder.INSTANCE, EmbedMode.NONE, c -> {}))
        .withMessageContaining("in use");
    index.close();
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.filter(f -> f.getFileName().toString().startsWith("segments_")).toList()) {
        Files.writeString(file, "garbage");
      }
    }
    assertThatIllegalStateException()
        .isThrownBy(() -> open())
        .withMessageContaining("cannot be read")
        .withMessageContaining(directory.toString());
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    open();
  }

  @Test
  void theLastOfTwoWithTheSameIdCounts() {
    index.put(List.of(document("a", Map.of("v", 1L)), document("a", Map.of("v", 2L))));
    assertThat(index.size()).isEqualTo(1);
    assertThat(index.find("a").orElseThrow().fields()).containsEntry("v", 2L);
  }

  @Test
  void readersAndWritersDoNotDisturbEachOther() throws InterruptedException {
    index.put(FILMS);
    ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
    CountDownLatch start = new CountDownLatch(1);
    List<Thread> threads =
        IntStream.range(0, 6)
            .mapToObj(
                t ->
                    Thread.startVirtualThread(
                        () -> {
                          try {
                            start.await();
                            for (int i = 0; i < 15; i++) {
                              String id = "t" + t + "-" + i;
                              index.put(List.of(document(id, Map.of("n", (long) i))));
                              assertThat(index.find(id)).isPresent();
                              assertThat(ids(search("replicant", Mode.HYBRID))).contains("1");
                              assertThat(index.delete(id)).isTrue();
                              assertThat(index.find(id)).isEmpty();
                            }
                          } catch (Throwable e) {
                            failures.add(e);
                          }
                        }))
            .toList();
    start.countDown();
    for (Thread thread : threads) {
      thread.join();
    }
    assertThat(failures).isEmpty();
    assertThat(index.size()).isEqualTo(5);
  }

  private RetrievalResult search(String query, Mode mode) {
    return index.search(new RetrievalRequest(query, mode, 100, Map.of(), List.of()));
  }

  private List<String> filtered(String field, Filter filter) {
    return ids(index.search(new RetrievalRequest("", Mode.LEXICAL, 100, Map.of(field, filter), List.of())));
  }

  static List<String> ids(RetrievalResult result) {
    return result.candidates().stream().map(candidate -> candidate.document().id()).toList();
  }

  private static String randomWords(int count) {
    StringBuilder words = new StringBuilder();
    for (int i = 0; i < count; i++) {
      words.append("w").append(i).append(' ');
    }
    return words.toString();
  }

  private static Document document(String id, Map<String, Object> fields) {
    return new Document(id, "Title " + id, "Text of " + id, null, null, fields);
  }

  private static Document film(String id, String title, String text, String director, long year) {
    return new Document(id, title, text, "https://example.org/" + id, null, Map.of("director", director, "year", year));
  }
}
