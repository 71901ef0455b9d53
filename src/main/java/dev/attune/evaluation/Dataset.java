package dev.attune.evaluation;

import dev.attune.retrieval.Document;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * A test collection.
 *
 * @param fingerprint changes when the corpus file changes; names the cached index
 * @param hash of all files that it is made from
 * @param corpus opens the documents; the caller closes the stream
 * @param judgments grades by query id and document id; documents not in it are not relevant
 */
record Dataset(
    String name,
    String fingerprint,
    String hash,
    Supplier<Stream<Document>> corpus,
    List<Query> queries,
    Map<String, Map<String, Integer>> judgments) {

  /**
   * The first documents alone, with the queries that one of them answers. Its figures cannot be compared with those of
   * the whole collection.
   */
  Dataset limitedTo(int documents) {
    Set<String> ids = new HashSet<>();
    try (Stream<Document> all = corpus.get()) {
      all.limit(documents).forEach(document -> ids.add(document.id()));
    }
    Map<String, Map<String, Integer>> kept = new HashMap<>();
    judgments.forEach(
        (query, grades) -> {
          Map<String, Integer> inside = new HashMap<>(grades);
          inside.keySet().retainAll(ids);
          kept.put(query, inside);
        });
    return new Dataset(
        name,
        fingerprint + "-first-" + documents,
        hash,
        () -> corpus.get().limit(documents),
        queries.stream()
            .filter(query -> kept.getOrDefault(query.id(), Map.of()).values().stream().anyMatch(grade -> grade > 0))
            .toList(),
        kept);
  }

  /** The same documents with the queries of a part. */
  Dataset only(Split split) {
    return new Dataset(
        name, fingerprint, hash, corpus, queries.stream().filter(query -> split.holds(query.id())).toList(), judgments);
  }

  /** A query of the collection. */
  record Query(String id, String text) {}
}
