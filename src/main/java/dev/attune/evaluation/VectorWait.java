package dev.attune.evaluation;

import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.EmbeddingProgress;
import java.io.PrintWriter;
import java.time.Duration;

/**
 * Waits for the vectors of an index: they are computed in the background, and hybrid retrieval without all of them is
 * another system.
 */
final class VectorWait {

  private static final Duration REPORT = Duration.ofSeconds(15);

  private VectorWait() {}

  /**
   * Returns when every document has its vector.
   *
   * @param name of the collection, for the lines of progress
   * @throws IllegalStateException when the vectors cannot be computed, or on interruption
   */
  static void until(DocumentIndex index, String name, PrintWriter out) {
    EmbeddingProgress progress = index.embeddingProgress();
    long reported = System.nanoTime();
    while (progress.embedded() < progress.total()) {
      if (progress.error() != null) {
        throw new IllegalStateException("Vectors of " + name + " cannot be computed: " + progress.error());
      }
      if (System.nanoTime() - reported > REPORT.toNanos()) {
        reported = System.nanoTime();
        out.printf(
            "%s: vectors of %,d of %,d documents, %.0f a second%n",
            name, progress.embedded(), progress.total(), progress.documentsPerSecond());
        out.flush();
      }
      try {
        Thread.sleep(100);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("Interrupted while computing vectors of " + name, e);
      }
      progress = index.embeddingProgress();
    }
  }
}
