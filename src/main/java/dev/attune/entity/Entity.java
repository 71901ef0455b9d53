package dev.attune.entity;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A thing that people search for.
 *
 * @param id stable identifier, for example a Wikidata id ({@code Q25191}) or one derived from a document field
 *     ({@code person:denis-villeneuve})
 * @param label preferred name
 * @param aliases other names, without the label
 * @param type coarse type such as {@code person}, {@code work} or {@code genre}; {@code thing} if unknown
 * @param description one line that tells it from others of the same name
 * @param prior commonness in [0,1]: how likely a mention of its name means this entity
 * @param neighbours related entities, at most one relation to each
 */
public record Entity(
    String id,
    String label,
    List<String> aliases,
    String type,
    @Nullable String description,
    double prior,
    List<Neighbour> neighbours) {

  public Entity {
    aliases = List.copyOf(aliases);
    neighbours = List.copyOf(neighbours);
  }

  /** A related entity, and how it is related (for example {@code director}). */
  public record Neighbour(String id, String relation) {}
}
