package dev.attune.evaluation;

import dev.attune.searchlog.SearchLog;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.stream.Stream;

/** A log that only counts what it is given. */
final class RecordedLog {

  private final List<Integer> ingested;

  RecordedLog(List<Integer> ingested) {
    this.ingested = ingested;
  }

  SearchLog proxy() {
    return (SearchLog)
        Proxy.newProxyInstance(
            SearchLog.class.getClassLoader(),
            new Class<?>[] {SearchLog.class},
            (self, method, arguments) -> {
              if (!method.getName().equals("ingest")) {
                throw new UnsupportedOperationException(method.getName());
              }
              ingested.add((int) ((Stream<?>) arguments[0]).count());
              return null;
            });
  }
}
