package dev.attune.knowledge;

import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * What may be learned of one user. It goes by the time when something happened, not when it arrived, so that a late
 * or repeated log changes nothing.
 *
 * @param pauses times in which nothing is learned
 * @param forgottenUntil per forgotten entity when the user allowed it again; {@link Instant#MAX} if not yet
 */
record LearningPolicy(UserSettings settings, List<Pause> pauses, Map<String, Instant> forgottenUntil) {

  /** From (inclusive) until (exclusive); open when the user has not resumed. */
  record Pause(Instant from, @Nullable Instant until) {
    boolean covers(Instant at) {
      return !at.isBefore(from) && (until == null || at.isBefore(until));
    }
  }

  boolean allows(Evidence evidence, Set<String> sensitiveTypes, Instant oldest) {
    Instant forgotten = forgottenUntil.get(evidence.entityId());
    return !evidence.at().isBefore(oldest)
        && (forgotten == null || !evidence.at().isBefore(forgotten))
        && (!sensitiveTypes.contains(evidence.type()) || settings.sensitive().contains(evidence.type()))
        && pauses.stream().noneMatch(pause -> pause.covers(evidence.at()));
  }

  /** The same by the ids under which the entities are known now: those of merged entities count together. */
  LearningPolicy canonical(UnaryOperator<String> canonicalId) {
    Map<String, Instant> canonical = new HashMap<>();
    forgottenUntil.forEach((id, until) ->
        canonical.merge(canonicalId.apply(id), until, (a, b) -> a.isAfter(b) ? a : b));
    return new LearningPolicy(settings, pauses, canonical);
  }

  boolean forgets(String entityId) {
    return Instant.MAX.equals(forgottenUntil.get(entityId));
  }
}
