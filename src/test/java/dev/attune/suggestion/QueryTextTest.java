package dev.attune.suggestion;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

class QueryTextTest {

  @Property
  void normalizingTwiceChangesNothing(@ForAll String text) {
    String once = QueryText.normalize(text);
    assertThat(QueryText.normalize(once)).isEqualTo(once);
  }

  @Property
  void similarityIsSymmetricAndBounded(@ForAll("queries") List<String> a, @ForAll("queries") List<String> b) {
    double similarity = QueryText.similarity(String.join(" ", a), String.join(" ", b));
    assertThat(similarity).isBetween(0.0, 1.0);
    assertThat(QueryText.similarity(String.join(" ", b), String.join(" ", a))).isEqualTo(similarity);
  }

  @Property
  void orderCaseAndPunctuationDoNotCount(@ForAll("queries") List<String> words, @ForAll long seed) {
    List<String> shuffled = new ArrayList<>(words);
    Collections.shuffle(shuffled, new Random(seed));
    String other = String.join(", ", shuffled).toUpperCase(java.util.Locale.ROOT) + "!";
    assertThat(QueryText.similarity(String.join(" ", words), other)).isEqualTo(1);
    assertThat(SuggestionFilter.same(String.join(" ", words), other)).isTrue();
  }

  @Test
  void foldsAccentsAndPlurals() {
    assertThat(QueryText.normalize("  Timothée  CHALAMET's “Dune”: Part-Two ")).isEqualTo(
        "timothee chalamets dune part two");
    assertThat(QueryText.similarity("space movies", "space movie")).isEqualTo(1);
    assertThat(QueryText.mentions("films by timothee chalamet", "Timothée Chalamet")).isTrue();
    assertThat(QueryText.mentions("films by timothee", "Timothée Chalamet")).isFalse();
    assertThat(QueryText.mentions("films", "😀")).isFalse();
  }

  @Provide
  Arbitrary<List<String>> queries() {
    return Arbitraries.of("dune", "arrival", "space", "movies", "villeneuve", "2049", "été")
        .list().ofMinSize(1).ofMaxSize(6);
  }
}
