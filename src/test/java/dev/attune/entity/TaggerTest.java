package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** The automata find what a naive scan over all names finds. */
class TaggerTest {

  private static final CommonWords WORDS = new CommonWords();
  private static final List<String> VOCABULARY =
      List.of("Dune", "dunes", "dark", "Knight", "the", "of", "Amélie", "amelie", "Nyong'o", "東", "京", "&", "2001");

  /** Several imports and deletions, so that the snapshot has several segments with dead rows. */
  @Property(tries = 300)
  void findsTheLongestNamesFromTheLeft(@ForAll("batches") List<List<String>> batches, @ForAll("text") String text,
      @ForAll("deletions") Set<Integer> deleted) {
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS));
    Map<String, Set<String>> idsByName = new HashMap<>();
    int number = 0;
    for (List<String> batch : batches) {
      List<KnowledgeRow> rows = new ArrayList<>();
      List<String> gone = new ArrayList<>();
      for (String name : batch) {
        String id = "e" + number;
        rows.add(row(id, name));
        if (deleted.contains(number)) {
          gone.add(id);
        } else {
          idsByName.computeIfAbsent(TextTokens.matchKey(name), key -> new HashSet<>()).add(id);
        }
        number++;
      }
      snapshot = snapshot.with(rows, List.of()).with(List.of(), gone);
    }
    List<String> expected = naive(text, idsByName);
    List<String> actual = new ArrayList<>();
    for (Tagger.Span span : Tagger.tag(TextTokens.of(text), snapshot)) {
      Set<String> ids = new HashSet<>();
      span.candidates().forEach(candidate -> ids.add(candidate.id()));
      actual.add(span.firstToken() + "-" + span.lastToken() + " " + new TreeSet<>(ids));
    }
    assertThat(actual).isEqualTo(expected);
  }

  private static List<String> naive(String text, Map<String, Set<String>> idsByName) {
    TextTokens tokens = TextTokens.of(text);
    List<String> found = new ArrayList<>();
    int first = 0;
    while (first < tokens.size()) {
      int last = tokens.size() - 1;
      Set<String> ids = null;
      while (last >= first && ids == null) {
        StringBuilder key = new StringBuilder();
        for (int i = first; i <= last; i++) {
          key.append(i == first ? "" : " ").append(tokens.term(i));
        }
        ids = idsByName.get(key.toString());
        last -= ids == null ? 1 : 0;
      }
      if (ids == null) {
        first++;
      } else {
        found.add(first + "-" + last + " " + new TreeSet<>(ids));
        first = last + 1;
      }
    }
    return found;
  }

  @Provide
  Arbitrary<List<List<String>>> batches() {
    Arbitrary<String> name = Arbitraries.of(VOCABULARY).list().ofMinSize(1).ofMaxSize(3)
        .map(words -> String.join(" ", words))
        // The build adds a variant without the article, which the naive scan does not know.
        .filter(value -> !TextTokens.matchKey(value).startsWith("the "));
    return name.list().ofMinSize(1).ofMaxSize(6).list().ofMinSize(1).ofMaxSize(4);
  }

  @Provide
  Arbitrary<String> text() {
    return Arbitraries.of(VOCABULARY).list().ofMaxSize(12).flatMap(words ->
        Arbitraries.of(" ", ", ", " - ", " 🎬 ").map(separator -> String.join(separator, words)));
  }

  @Provide
  Arbitrary<Set<Integer>> deletions() {
    return Arbitraries.integers().between(0, 23).set().ofMaxSize(6);
  }

  private static KnowledgeRow row(String id, String name) {
    return new KnowledgeRow(new Entity(id, name, List.of(), "work", null, 0.5, List.of()), "test", null);
  }

  @Test
  void normalisesNamesAndTextsAlike() {
    assertThat(TextTokens.matchKey("  AMÉLIE!")).isEqualTo("amelie");
    assertThat(TextTokens.matchKey("Nolan's films")).isEqualTo("nolan film");
    assertThat(TextTokens.matchKey("Lupita Nyong’o")).isEqualTo("lupita nyongo");
    assertThat(TextTokens.matchKey("Bonnie & Clyde")).isEqualTo("bonnie and clyde");
    assertThat(TextTokens.matchKey("東京 Story 🎌")).isEqualTo("東 京 story");
    assertThat(TextTokens.matchKey("Straße ŁÓDŹ")).isEqualTo("strasse lodz");
    assertThat(TextTokens.matchKey("…!? 🎬")).isEmpty();
    assertThat(TextTokens.nameKey("Star Wars")).isEqualTo("star wars");
  }
}
