package dev.attune.entity;

import jakarta.validation.constraints.DecimalMax;
import jakarta.validation.constraints.DecimalMin;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of the knowledge base and the linker.
 *
 * @param documentFields which document fields name entities, as {@code field: type}, the telling ones first. The field
 *     {@code title} gives one entity per document, the neighbour of all others of the document. Empty: documents give
 *     no entities
 * @param descriptionFields document fields whose values describe the document's entity
 * @param popularityField numeric document field that says how well known the document's entity is
 * @param nilThreshold confidence below which a mention is left out, in [0,1]
 * @param maxNeighbours most neighbours answered for one entity
 * @param maxTextChars texts are linked up to this length; what follows is ignored
 * @param commonNounTypes entity types whose names are ordinary words ({@code drama}), linked without a capital letter
 * @param typeCues words beside a name that speak for a type, as {@code type: [words]}
 */
@Validated
@ConfigurationProperties("attune.entity")
public record EntityProperties(
    @Nullable Map<String, String> documentFields,
    @DefaultValue({"year", "director", "genres"}) List<String> descriptionFields,
    @DefaultValue("votes") String popularityField,
    @DefaultValue("0.5") @DecimalMin("0") @DecimalMax("1") double nilThreshold,
    @DefaultValue("64") @Min(1) @Max(1000) int maxNeighbours,
    @DefaultValue("2000000") @Min(1000) int maxTextChars,
    @DefaultValue({"genre", "sport", "instrument", "language", "field", "profession", "award", "health", "religion",
        "substance", "event"}) Set<String> commonNounTypes,
    @Nullable Map<String, List<String>> typeCues) {

  /** Fields of a film collection. */
  public static final Map<String, String> FILM_FIELDS = ordered(
      "title", "work", "director", "person", "actors", "person", "characters", "character", "genres", "genre");

  private static final Map<String, List<String>> CUES = Map.of(
      "work", List.of("movie", "film", "series", "show", "book", "novel", "song", "album", "cast", "trailer", "sequel",
          "soundtrack", "remake", "director", "actor", "ending", "review"),
      "person", List.of("actor", "actress", "director", "singer", "filmography", "biography", "starring"),
      "character", List.of("character", "actor", "superhero", "villain"),
      "genre", List.of("movie", "film", "genre", "music"),
      "place", List.of("in", "city", "weather", "hotel", "travel"),
      "band", List.of("band", "album", "song", "concert", "lyric"),
      "language", List.of("in", "language", "speak", "spoken", "speaker", "learn", "study", "studied", "translate",
          "translation", "dictionary", "grammar", "word", "subtitle", "dubbed"));

  public EntityProperties {
    documentFields = documentFields == null ? FILM_FIELDS : documentFields;
    typeCues = typeCues == null ? CUES : Map.copyOf(typeCues);
    commonNounTypes = Set.copyOf(commonNounTypes);
    descriptionFields = List.copyOf(descriptionFields);
  }

  private static Map<String, String> ordered(String... pairs) {
    Map<String, String> map = new LinkedHashMap<>();
    for (int i = 0; i < pairs.length; i += 2) {
      map.put(pairs[i], pairs[i + 1]);
    }
    return Collections.unmodifiableMap(map);
  }
}
