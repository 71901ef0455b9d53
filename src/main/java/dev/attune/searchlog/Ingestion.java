package dev.attune.searchlog;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;

/** One request's way into the log: parses items, stores them batch by batch, counts. Not thread-safe. */
final class Ingestion {

  private final UbiParser parser;
  private final LogWriter writer;
  private final SearchLogProperties properties;

  private final List<UbiItem.Query> queries = new ArrayList<>();
  private final List<UbiItem.Event> events = new ArrayList<>();
  private final List<SearchLog.Rejection> rejections = new ArrayList<>();
  private final List<SearchLog.Rejection> reported = new ArrayList<>();
  private long received;
  private long accepted;
  private long rejected;

  Ingestion(UbiParser parser, LogWriter writer, SearchLogProperties properties) {
    this.parser = parser;
    this.writer = writer;
    this.properties = properties;
  }

  /** @param index zero-based over all items of the request */
  void add(long index, JsonNode node) {
    switch (parser.parse(node, Instant.now())) {
      case UbiItem.Skipped _ -> {
        return;
      }
      case UbiItem.Invalid invalid -> reject(index, invalid.reason());
      case UbiItem.Query query -> queries.add(query);
      case UbiItem.Event event -> events.add(event);
    }
    added();
  }

  /** An item that could not even be parsed as JSON. */
  void addMalformed(long index, String reason) {
    reject(index, reason);
    added();
  }

  private void added() {
    received++;
    if (queries.size() + events.size() + rejections.size() >= properties.batchSize()) {
      flush();
    }
  }

  SearchLog.IngestReport finish() {
    flush();
    return new SearchLog.IngestReport(received, accepted, received - accepted - rejected, rejected, reported);
  }

  private void reject(long index, String reason) {
    SearchLog.Rejection rejection = new SearchLog.Rejection(index, reason);
    rejections.add(rejection);
    rejected++;
    if (reported.size() < properties.maxErrors()) {
      reported.add(rejection);
    }
  }

  private void flush() {
    if (queries.isEmpty() && events.isEmpty() && rejections.isEmpty()) {
      return;
    }
    accepted +=
        writer.store(
            new LogWriter.Batch(Instant.now(), List.copyOf(queries), List.copyOf(events), List.copyOf(rejections)));
    queries.clear();
    events.clear();
    rejections.clear();
  }
}
