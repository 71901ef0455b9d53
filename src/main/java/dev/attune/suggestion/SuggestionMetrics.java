package dev.attune.suggestion;

import dev.attune.suggestion.Suggester.Suggestions;
import dev.attune.suggestion.SuggestionFilter.Rejection;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.Locale;
import org.springframework.stereotype.Component;

/** Counts and times suggestions. Labels come from fixed sets: never a user, a text or an entity. */
@Component
class SuggestionMetrics {

  private final MeterRegistry registry;

  SuggestionMetrics(MeterRegistry registry) {
    this.registry = registry;
  }

  void answered(Suggestions answer) {
    answer.timings().forEach(
        (phase, millis) ->
            registry
                .timer("attune.suggestion", "phase", phase.substring(0, phase.length() - 2))
                .record(Duration.ofMillis(millis)));
    answer.suggestions().forEach(
        suggestion -> registry.counter("attune.suggestion.given", "source", suggestion.source()).increment());
    answer.degraded().forEach(part -> registry.counter("attune.suggestion.degraded", "part", part).increment());
    registry.counter("attune.suggestion.prompt.tokens", "cached", "true").increment(answer.cachedTokens());
    registry
        .counter("attune.suggestion.prompt.tokens", "cached", "false")
        .increment(answer.promptTokens() - answer.cachedTokens());
  }

  void rejected(Rejection rejection) {
    registry
        .counter("attune.suggestion.rejected", "reason", rejection.name().toLowerCase(Locale.ROOT))
        .increment();
  }

  void cancelled() {
    registry.counter("attune.suggestion.cancelled").increment();
  }
}
