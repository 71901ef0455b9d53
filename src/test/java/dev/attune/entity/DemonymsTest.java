package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
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
  void theListIsInOrder() throws IOException {
    Set<String> countries = new HashSet<>();
    try (BufferedReader reader = new BufferedReader(new InputStreamReader(
        Objects.requireNonNull(Demonyms.class.getResourceAsStream("/kb/demonyms.tsv")), StandardCharsets.UTF_8))) {
      for (String line : reader.lines().filter(line -> !line.startsWith("#")).toList()) {
        assertThat(line).matches("[^\\t,]+\\t[^\\t;]+");
        for (String country : line.substring(0, line.indexOf('\t')).split(";")) {
          assertThat(countries.add(TextTokens.nameKey(country))).as(country).isTrue();
        }
        for (String word : line.substring(line.indexOf('\t') + 1).split(",")) {
          assertThat(word).isEqualTo(word.strip()).matches("\\p{Lu}.*");
          // A word that everybody writes for something else would be found everywhere.
          assertThat(new CommonWords().rarity(TextTokens.matchKey(word))).as(word).isGreaterThan(0.5);
        }
      }
    }
    assertThat(countries).hasSizeGreaterThan(200);
  }
}
