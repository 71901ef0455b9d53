package dev.attune.entity;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * English adjectives of countries and nations and words for their people, from a bundled list. It goes by the labels of
 * the countries, so that it works with any knowledge base.
 */
final class Demonyms {

  static final String RESOURCE = "/kb/demonyms.tsv";

  /** Knowledge bases take countries for organisations, too. */
  private static final Set<String> TYPES = Set.of("place", "organization");

  private final Map<String, List<String>> words = new HashMap<>();

  Demonyms() {
    BundledFile.forEachLine(RESOURCE, line -> {
      if (!line.startsWith("#")) {
        int tab = line.indexOf('\t');
        for (String country : line.substring(0, tab).split(";")) {
          words.put(TextTokens.nameKey(country), List.of(line.substring(tab + 1).split(",")));
        }
      }
    });
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
