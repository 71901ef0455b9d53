package dev.attune.suggestion;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

class LexiconGrammarTest {

  private static final Set<String> WORDS =
      Set.of("arrival", "dune", "science", "fiction", "movies", "2049", "chalamet", "timothée", "spider-man", "fans");

  /** A decoder that takes any piece that is allowed, however unlikely. */
  @Property
  void whateverIsDecodedIsAPlainLineOfKnownWords(@ForAll("starts") String start, @ForAll long seed) {
    LexiconGrammar grammar = new LexiconGrammar(start, WORDS, "dune");
    Random random = new Random(seed);
    List<String> pieces = new ArrayList<>(List.of("a", "e", "\n", "\"", "<|im_end|>", "😀", "D", "  ", "s", "-", "'"));
    for (String word : WORDS) {
      pieces.add(" " + word);
      pieces.add(word.substring(0, 2));
      pieces.add(word.substring(2));
    }
    String text = "";
    for (int step = 0; step < 200; step++) {
      String next = text + pieces.get(random.nextInt(pieces.size()));
      if (grammar.allows(next)) {
        text = next;
      }
    }
    String query = grammar.query(text);
    if (query == null) {
      return;
    }
    assertThat(query).startsWith(start).hasSizeLessThanOrEqualTo(70).matches("[\\p{L}\\p{N}' -]+");
    List<String> added = Arrays.asList(query.substring(start.length()).strip().split(" "));
    assertThat(added).doesNotHaveDuplicates().hasSizeLessThanOrEqualTo(8);
    Set<String> known = new HashSet<>(WORDS);
    known.addAll(LexiconGrammar.JOINING);
    assertThat(known).containsAll(added);
    assertThat(LexiconGrammar.JOINING).doesNotContain(added.getLast());
  }

  @Property
  void whatIsAllowedIsReachedStepByStep(@ForAll("texts") String text) {
    LexiconGrammar grammar = new LexiconGrammar("dune", WORDS, "dune");
    if (grammar.allows(text)) {
      for (int end = 0; end <= text.length(); end++) {
        assertThat(grammar.allows(text.substring(0, end))).as(text.substring(0, end)).isTrue();
      }
    }
  }

  @Test
  void endsOnlyWhenTheQueryIsWholeAndAboutTheEntity() {
    LexiconGrammar grammar = new LexiconGrammar("science fiction", WORDS, "Dune");
    assertThat(grammar.mayEndAfter("")).isFalse();
    assertThat(grammar.mayEndAfter(" movies")).isFalse();
    assertThat(grammar.mayEndAfter(" movies like")).isFalse();
    assertThat(grammar.mayEndAfter(" movies like du")).isFalse();
    assertThat(grammar.mayEndAfter(" movies like dune")).isTrue();
    assertThat(grammar.allows(" science")).isFalse();
    assertThat(grammar.allows(" dune dune")).isFalse();
    assertThat(grammar.query(" movies like du")).isEqualTo("science fiction movies");
    assertThat(grammar.query(" like the")).isNull();
  }

  @Provide
  Arbitrary<String> starts() {
    return Arbitraries.of("", "dune", "science fiction");
  }

  @Provide
  Arbitrary<String> texts() {
    return Arbitraries.of(" arrival", " sci", "ence", " fans", " ", "x", " movies", "", " dune").list().ofMaxSize(6)
        .map(list -> String.join("", list));
  }
}
