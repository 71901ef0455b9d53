package dev.attune.search;

import io.micrometer.core.instrument.MeterRegistry;
import java.time.Duration;
import java.util.Locale;
import org.springframework.stereotype.Component;

/** Counts and times searches. Labels come from fixed sets: never a user, a query or a document. */
@Component
class SearchMetrics {

  private final MeterRegistry registry;

  SearchMetrics(MeterRegistry registry) {
    this.registry = registry;
  }

  void answered(SearchRequest request, SearchAnswer answer) {
    time("retrieve", answer.timings().retrieveMs());
    time("rank", answer.timings().rankMs());
    time("total", answer.timings().totalMs());
    registry
        .counter(
            "attune.search.requests",
            "ranking", request.ranking().name().toLowerCase(Locale.ROOT),
            "personalization", request.personalization().name().toLowerCase(Locale.ROOT))
        .increment();
    answer.degraded().forEach(part -> registry.counter("attune.search.degraded", "part", part).increment());
  }

  void cancelled() {
    registry.counter("attune.search.cancelled").increment();
  }

  private void time(String phase, long millis) {
    registry.timer("attune.search", "phase", phase).record(Duration.ofMillis(millis));
  }
}
