package dev.attune.llm;

import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The model that this service runs, if there is one. */
public interface Models {

  /** The model, or empty while it is missing, broken or still loading. Cheap: callers ask at every request. */
  Optional<LanguageModel> current();

  Status status();

  /** State of the model. */
  enum State {
    LOADING,
    READY,
    /** No file at the configured place. */
    MISSING,
    /** The file is there but cannot be used. */
    BROKEN
  }

  /**
   * What the model is doing.
   *
   * @param source the configured path or name
   * @param message what is wrong and what to do, null when ready
   */
  record Status(State state, String source, @Nullable String name, @Nullable String backend, @Nullable String message) {}
}
