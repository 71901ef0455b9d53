package dev.attune.entity;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * English adjectives of countries and nations and words for their people, from a bundled list. It goes by the labels of
 * the countries, so that it works with any knowledge base.
 */
final class Demonyms {

  private static final String RESOURCE = "/kb/demonyms.tsv";

  /** Knowledge bases take countries for organisations, too. */
  private static final Set<String> TYPES = Set.of("place", "organization");

  private final Map<String, List<String>> words = new HashMap<>();

  Demonyms() {
    try (InputStream resource = Objects.requireNonNull(Demonyms.class.getResourceAsStream(RESOURCE), RESOURCE);
        BufferedReader reader = new BufferedReader(new InputStreamReader(resource, StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        if (!line.startsWith("#")) {
          int tab = line.indexOf('\t');
          for (String country : line.substring(0, tab).split(";")) {
            words.put(TextTokens.nameKey(country), List.of(line.substring(tab + 1).split(",")));
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + RESOURCE, e);
    }
  }

  /** Changes with the list. */
  long fingerprint() {
    return words.hashCode();
  }

  /** Words for an entity; none if it is no country. */
  List<String> of(Entity entity) {
    return TYPES.contains(entity.type())
        ? words.getOrDefault(TextTokens.nameKey(entity.label()), List.of())
        : List.of();
  }
}
