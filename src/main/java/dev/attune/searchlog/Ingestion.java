package dev.attune.searchlog;

import dev.attune.web.JsonItem;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

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

  void add(JsonItem item) {
    boolean counts =
        switch (item) {
          case JsonItem.Malformed malformed -> reject(malformed.index(), malformed.reason());
          case JsonItem.Value value -> add(value.index(), parser.parse(value.node(), Instant.now()));
        };
    if (!counts) {
      return;
    }
    received++;
    if (queries.size() + events.size() + rejections.size() >= properties.batchSize()) {
      flush();
    }
  }

  private boolean add(long index, UbiItem item) {
    return switch (item) {
      case UbiItem.Skipped _ -> false;
      case UbiItem.Invalid invalid -> reject(index, invalid.reason());
      case UbiItem.Query query -> queries.add(query);
      case UbiItem.Event event -> events.add(event);
    };
  }

  SearchLog.IngestReport finish() {
    flush();
    return new SearchLog.IngestReport(received, accepted, received - accepted - rejected, rejected, reported);
  }

  private boolean reject(long index, String reason) {
    SearchLog.Rejection rejection = new SearchLog.Rejection(index, reason);
    rejections.add(rejection);
    rejected++;
    if (reported.size() < properties.maxErrors()) {
      reported.add(rejection);
    }
    return true;
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
