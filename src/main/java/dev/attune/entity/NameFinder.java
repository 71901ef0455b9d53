package dev.attune.entity;

import java.util.List;

/** Finds names and what they may mean, before anything is decided: what the linker chooses from. Thread-safe. */
public interface NameFinder {

  /** The longest names of a text in their order, each followed by the names within it. */
  List<Name> find(String text);

  /**
   * A name.
   *
   * @param start offset of its first UTF-16 unit
   * @param end offset after its last UTF-16 unit
   * @param inner whether it is within a longer name; it is meant only where that one is not
   * @param candidates what it may mean, most common first
   */
  record Name(int start, int end, boolean inner, List<Candidate> candidates) {}

  /** An entity and how common it is for the name, in [0,1]: a part of its own name names it less often. */
  record Candidate(String entityId, double prior) {}
}
