package dev.attune.evaluation;

import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import java.util.Optional;
import org.springframework.beans.factory.ObjectProvider;

/** The language model for commands, which have time to wait until it is loaded. */
final class LoadedModel {

  private LoadedModel() {}

  /**
   * Waits while the model is loading.
   *
   * @throws IllegalStateException when there is none; the message says what to do
   */
  static LanguageModel await(ObjectProvider<Models> provider, ModelRole role) {
    return find(provider, role)
        .orElseThrow(
            () -> new IllegalStateException("There is no language model: " + provider.getObject().status().message()));
  }

  /** The same where there need not be one. */
  static Optional<LanguageModel> find(ObjectProvider<Models> provider, ModelRole role) {
    Models models = provider.getIfAvailable();
    if (models == null) {
      throw new IllegalStateException("This build has no language model");
    }
    while (models.status().state() == Models.State.LOADING) {
      try {
        Thread.sleep(50);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("Interrupted while the model was loading", e);
      }
    }
    return models.current(role);
  }
}
