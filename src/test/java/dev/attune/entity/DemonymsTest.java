package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class DemonymsTest {

  private final Demonyms demonyms = new Demonyms();

  private static Entity entity(String label, String type) {
    return new Entity("id", label, List.of(), type, null, 0.5, List.of());
  }

  @Test
  void goesByLabelAndType() {
    assertThat(demonyms.of(entity("France", "place"))).contains("French", "Frenchman");
    assertThat(demonyms.of(entity("china", "organization"))).containsExactly("Chinese");
    assertThat(demonyms.of(entity("People's Republic of China", "place"))).containsExactly("Chinese");
    assertThat(demonyms.of(entity("Australia", "work"))).as("a film").isEmpty();
    assertThat(demonyms.of(entity("Franconia", "place"))).isEmpty();
  }

  @Test
  void theListIsInOrder() {
    Set<String> countries = new HashSet<>();
    CommonWords common = new CommonWords();
    BundledFile.forEachLine(Demonyms.RESOURCE, line -> {
      if (line.startsWith("#")) {
        return;
      }
      assertThat(line).matches("[^\\t,]+\\t[^\\t;]+");
      for (String country : line.substring(0, line.indexOf('\t')).split(";")) {
        assertThat(countries.add(TextTokens.nameKey(country))).as(country).isTrue();
      }
      for (String word : line.substring(line.indexOf('\t') + 1).split(",")) {
        assertThat(word).isEqualTo(word.strip()).matches("\\p{Lu}.*");
        // A word that everybody writes for something else would be found everywhere.
        assertThat(common.rarity(TextTokens.matchKey(word))).as(word).isGreaterThan(0.5);
      }
    });
    assertThat(countries).hasSizeGreaterThan(200);
  }
}
