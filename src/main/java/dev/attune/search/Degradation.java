package dev.attune.search;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** Parts that one answer had to do without. */
final class Degradation {

  static final String RETRIEVAL = "retrieval";
  static final String RANKING = "ranking";
  static final String PERSONALIZATION = "personalization";
  static final String LOG = "log";

  private final Set<String> parts = new LinkedHashSet<>();

  synchronized void add(String part) {
    parts.add(part);
  }

  synchronized List<String> parts() {
    return List.copyOf(parts);
  }
}
