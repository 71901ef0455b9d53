package dev.attune.llm;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import java.util.Arrays;

/** Checks a pass against the shape of a model, for all backends alike. */
public final class PassValidation {

  private PassValidation() {}

  /**
   * Checks tokens, positions, layers, context and probe; whose segments they are is for the backend to check.
   *
   * @throws IllegalArgumentException naming what is out of range
   */
  public static void check(Pass pass, ModelConfig config) {
    int n = pass.tokens().length;
    require(n > 0, "A pass needs at least one token");
    for (int i = 0; i < n; i++) {
      int token = pass.tokens()[i];
      require(token >= 0 && token < config.vocabulary(), "Token %d at index %d is not below the vocabulary of %d",
          token, i, config.vocabulary());
    }
    require(pass.firstPosition() >= 0 && pass.firstPosition() <= config.context() - n,
        "Positions %d to %d are not within the model's context of %d", pass.firstPosition(),
        (long) pass.firstPosition() + n - 1, config.context());
    require(pass.layers() >= 0 && pass.layers() <= config.layers(), "Cannot run %d layers of %d", pass.layers(),
        config.layers());
    require(pass.logits() == Logits.NONE || pass.layers() == config.layers(), "Logits need all %d layers, not %d",
        config.layers(), pass.layers());
    for (KvSegment segment : pass.context()) {
      require(segment.valueLayers() >= pass.layers(),
          "A context segment has values of %d layers, the pass runs %d", segment.valueLayers(), pass.layers());
    }
    if (pass.probe() != null) {
      check(pass, pass.probe(), config);
    }
  }

  private static void check(Pass pass, Probe probe, ModelConfig config) {
    require(pass.layers() < config.layers(), "There is no layer %d to probe", pass.layers());
    require(probe.rows().length > 0 && probe.scored().length > 0, "A probe needs rows and scored segments");
    require(Arrays.stream(probe.rows()).allMatch(row -> row >= 0 && row < pass.tokens().length),
        "Probe rows %s are not all below %d", Arrays.toString(probe.rows()), pass.tokens().length);
    for (int i : probe.scored()) {
      require(i >= 0 && i < pass.context().size(), "Scored segment %d is not one of %d", i, pass.context().size());
      require(pass.context().get(i).layers() > pass.layers(),
          "Scored segment %d has keys of %d layers, not of layer %d", i, pass.context().get(i).layers(), pass.layers());
    }
  }

  private static void require(boolean condition, String message, Object... arguments) {
    if (!condition) {
      throw new IllegalArgumentException(message.formatted(arguments));
    }
  }
}
