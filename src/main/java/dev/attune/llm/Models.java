package dev.attune.llm;

import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The model that this service runs, if there is one. */
public interface Models {

  /**
   * The model with the adapter of a role, or empty while it is missing, broken or still loading. Roles share the base
   * weights; without adapters they share everything. Cheap: callers ask at every request.
   */
  Optional<LanguageModel> current(ModelRole role);

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
   * @param adapters one per role, once the model is ready
   */
  record Status(
      State state,
      String source,
      @Nullable String name,
      @Nullable String backend,
      @Nullable String message,
      List<Adapter> adapters) {}

  /**
   * The adapter of a role.
   *
   * @param source the configured value
   * @param active whether the role runs with it; otherwise it runs with the base weights
   * @param message why it is not active, null when it is
   */
  record Adapter(ModelRole role, String source, boolean active, @Nullable String message) {}
}
