package dev.attune.ranking;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** How often documents were candidates since the start; remembers the most recently seen ones. */
final class DocumentDemand {

  private static final int REMEMBERED = 20_000;

  private final Map<String, Integer> counts =
      new LinkedHashMap<>(1024, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Integer> eldest) {
          return size() > REMEMBERED;
        }
      };

  synchronized void candidate(String documentId) {
    counts.merge(documentId, 1, Integer::sum);
  }

  synchronized void forget(String documentId) {
    counts.remove(documentId);
  }

  /** Document ids, most often seen first; the id decides ties. */
  synchronized List<String> byDemand() {
    return counts.entrySet().stream()
        .sorted(Map.Entry.<String, Integer>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()))
        .map(Map.Entry::getKey)
        .toList();
  }
}
