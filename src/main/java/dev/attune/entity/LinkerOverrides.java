package dev.attune.entity;

import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Corrections of the linker by hand: what a name means, or that it means nothing. */
public interface LinkerOverrides {

  /**
   * Makes a name mean an entity, in every text and whatever the linker would say; replaces what was set before.
   *
   * @param alias compared as the linker compares names: case, accents, punctuation and plural are ignored
   * @param entityId null: the name is never linked
   * @throws IllegalArgumentException if the alias has no letter or digit, or the entity does not exist
   */
  void put(String alias, @Nullable String entityId);

  /** Leaves the name to the linker again; returns whether there was an override. */
  boolean remove(String alias);

  /** The name as it is stored and listed. */
  String normalised(String alias);

  /** All overrides by normalised name; empty where the name is never linked. */
  Map<String, Optional<String>> all();
}
