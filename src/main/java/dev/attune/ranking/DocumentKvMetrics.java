package dev.attune.ranking;

import dev.attune.ranking.DocumentKvStore.Usage;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.function.ToDoubleFunction;

/** How full the document KV store is. No label names a document. */
final class DocumentKvMetrics implements MeterBinder {

  private final DocumentKvStore store;

  DocumentKvMetrics(DocumentKvStore store) {
    this.store = store;
  }

  @Override
  public void bindTo(MeterRegistry registry) {
    tier(registry, "memory", Usage::documents, Usage::bytes, Usage::limit, Usage::evicted);
    tier(
        registry,
        "disk",
        usage -> usage.stored().documents(),
        usage -> usage.stored().bytes(),
        usage -> usage.stored().limit(),
        usage -> usage.stored().evicted());
    FunctionCounter.builder("attune.ranking.kv.damaged", store, s -> s.usage().stored().damaged())
        .description("Entries on disk that were found damaged and dropped")
        .register(registry);
  }

  private void tier(
      MeterRegistry registry,
      String tier,
      ToDoubleFunction<Usage> documents,
      ToDoubleFunction<Usage> bytes,
      ToDoubleFunction<Usage> limit,
      ToDoubleFunction<Usage> evicted) {
    Gauge.builder("attune.ranking.kv.documents", store, s -> documents.applyAsDouble(s.usage()))
        .tag("tier", tier)
        .description("Documents whose keys and values are stored")
        .register(registry);
    Gauge.builder("attune.ranking.kv.size", store, s -> bytes.applyAsDouble(s.usage()))
        .tag("tier", tier)
        .baseUnit("bytes")
        .register(registry);
    Gauge.builder("attune.ranking.kv.limit", store, s -> limit.applyAsDouble(s.usage()))
        .tag("tier", tier)
        .baseUnit("bytes")
        .register(registry);
    FunctionCounter.builder("attune.ranking.kv.evicted", store, s -> evicted.applyAsDouble(s.usage()))
        .tag("tier", tier)
        .description("Entries dropped to make room")
        .register(registry);
  }
}
