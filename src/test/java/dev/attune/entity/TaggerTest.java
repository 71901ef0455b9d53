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
    for (Tagger.Span span : new Tagger(TextTokens.of(text), snapshot, WORDS).tag()) {
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
      int last = longest(tokens, first, idsByName.keySet());
      boolean longerWithin = false;
      for (int inner = first + 1; inner <= last; inner++) {
        int other = longest(tokens, inner, idsByName.keySet());
        longerWithin |= other > last && other - inner > last - first;
      }
      if (last < 0 || longerWithin) {
        first++;
      } else {
        found.add(first + "-" + last + " " + new TreeSet<>(idsByName.get(key(tokens, first, last))));
        first = last + 1;
      }
    }
    return found;
  }

  private static int longest(TextTokens tokens, int first, Set<String> names) {
    for (int last = tokens.size() - 1; last >= first; last--) {
      if (names.contains(key(tokens, first, last))) {
        return last;
      }
    }
    return -1;
  }

  private static String key(TextTokens tokens, int first, int last) {
    List<String> terms = new ArrayList<>();
    for (int i = first; i <= last; i++) {
      terms.add(tokens.term(i));
    }
    return String.join(" ", terms);
  }

  /** The walk over the automaton finds a name exactly if the text is one mistake away from it. */
  @Property(tries = 1000)
  void findsNamesWithOneMistake(@ForAll("words") List<String> names, @ForAll("words") List<String> text) {
    List<KnowledgeRow> rows = new ArrayList<>();
    names.forEach(name -> rows.add(row("e" + rows.size(), name)));
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    TextTokens tokens = TextTokens.of(String.join(" ", text));
    int expected = -1;
    Set<String> keys = new HashSet<>();
    for (KnowledgeSnapshot.Part part : snapshot.parts()) {
      names.forEach(name -> keys.addAll(List.of(TextTokens.matchKey(name), TextTokens.matchKey(name + "s"))));
      assertThat(part.segment().size()).isEqualTo(names.size());
    }
    for (int last = 0; last < tokens.size(); last++) {
      String written = key(tokens, 0, last);
      for (String name : keys) {
        expected = written.length() >= 7 && written.charAt(0) == name.charAt(0) && mistakes(written, name) == 1
            ? last : expected;
      }
    }
    Stretch stretch = new Stretch();
    stretch.set(tokens, 0, tokens.size());
    int found = -1;
    for (NameWalker walker : NameWalker.of(snapshot)) {
      found = Math.max(found, walker.longestMisspelt(stretch));
    }
    assertThat(found).isEqualTo(expected);
  }

  /** The walk with two mistakes finds exactly what the matrix of all cells finds. */
  @Property(tries = 1000)
  void findsNamesWithTwoMistakes(@ForAll("longWords") List<String> names, @ForAll("longWords") List<String> text) {
    List<KnowledgeRow> rows = new ArrayList<>();
    names.forEach(name -> rows.add(row("e" + rows.size(), name)));
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    TextTokens tokens = TextTokens.of(String.join(" ", text));
    Set<String> keys = new HashSet<>();
    names.forEach(name -> keys.addAll(List.of(TextTokens.matchKey(name), TextTokens.matchKey(name + "s"))));
    int expected = -1;
    for (int last = 0; last < tokens.size() && key(tokens, 0, last).length() <= Stretch.MAX_BYTES; last++) {
      String written = key(tokens, 0, last);
      for (String name : keys) {
        boolean near = written.length() >= 8 && name.length() >= 8 && written.charAt(0) == name.charAt(0)
            && mistakes(written, name) == 2 && wellBegun(written, name);
        expected = near ? last : expected;
      }
    }
    Stretch stretch = new Stretch();
    stretch.set(tokens, 0, tokens.size());
    int found = -1;
    for (NameWalker walker : NameWalker.of(snapshot)) {
      found = Math.max(found, walker.longestTwiceMisspelt(stretch));
    }
    assertThat(found).isEqualTo(expected);
  }

  /**
   * Whether the first two and three letters of the name are at most one mistake away from some beginning of the text.
   */
  private static boolean wellBegun(String text, String name) {
    for (int letters = 2; letters <= 3; letters++) {
      boolean begun = false;
      for (int end = 1; end <= Math.min(text.length(), letters + 2); end++) {
        begun |= mistakes(text.substring(1, end), name.substring(1, letters)) <= 1;
      }
      if (!begun) {
        return false;
      }
    }
    return true;
  }

  /** Optimal string alignment, where a digit is never wrong. */
  private static int mistakes(String a, String b) {
    int[][] d = new int[a.length() + 1][b.length() + 1];
    for (int i = 0; i <= a.length(); i++) {
      for (int j = 0; j <= b.length(); j++) {
        if (i == 0 || j == 0) {
          d[i][j] = i > 0 ? d[i - 1][0] + cost(a.charAt(i - 1)) : j > 0 ? d[0][j - 1] + cost(b.charAt(j - 1)) : 0;
          continue;
        }
        char x = a.charAt(i - 1);
        char y = b.charAt(j - 1);
        d[i][j] = Math.min(d[i - 1][j] + cost(x), d[i][j - 1] + cost(y));
        d[i][j] = Math.min(d[i][j], d[i - 1][j - 1] + (x == y ? 0 : Math.max(cost(x), cost(y))));
        if (i > 1 && j > 1 && x == b.charAt(j - 2) && y == a.charAt(i - 2) && x != y) {
          d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + Math.max(cost(x), cost(y)));
        }
      }
    }
    return d[a.length()][b.length()];
  }

  private static int cost(char c) {
    return Character.isDigit(c) ? 9 : 1;
  }

  @Provide
  Arbitrary<List<String>> words() {
    Arbitrary<String> alike = Arbitraries.strings().withChars("ab").ofMinLength(6).ofMaxLength(8);
    Arbitrary<String> withBorders = Arbitraries.strings().withChars("ab1 ").ofMinLength(6).ofMaxLength(10);
    return Arbitraries.oneOf(alike, withBorders)
        .map(word -> "a" + TextTokens.matchKey(word)).list().ofMinSize(1).ofMaxSize(3);
  }

  @Provide
  Arbitrary<List<String>> longWords() {
    Arbitrary<String> alike = Arbitraries.strings().withChars("ab").ofMinLength(7).ofMaxLength(9);
    Arbitrary<String> withBorders = Arbitraries.strings().withChars("abc1 ").ofMinLength(7).ofMaxLength(12);
    return Arbitraries.oneOf(alike, withBorders)
        .map(word -> "a" + TextTokens.matchKey(word)).list().ofMinSize(1).ofMaxSize(4);
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
