package dev.attune.suggestion;

import dev.attune.suggestion.Suggester.SuggestionRequest;
import dev.attune.suggestion.Suggester.Suggestions;

/** Suggests with parts of what is known left out, to measure what each part is worth. Thread-safe. */
public interface SuggestionLadder {

  /** Suggests with what a rung may use. */
  Suggestions suggest(SuggestionRequest request, Rung rung);

  /** What may be used, each on top of the ones before, except that the store stands in for the raw history. */
  enum Rung {
    /** The query and the page, as for a stranger. */
    QUERY,
    /** What the user did in the session. */
    SESSION,
    /** Their newest queries as they are, in as many tokens of the prompt as the store may take. */
    HISTORY,
    /** Their entity store. */
    STORE,
    /** What needs no model: what the service does. */
    BACK_OFF
  }
}
