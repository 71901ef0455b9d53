package dev.attune.evaluation;

import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.EmbedMode;
import dev.attune.retrieval.Embedder;
import dev.attune.retrieval.LuceneDocumentIndex;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.stream.Stream;

/**
 * The index of one test collection, apart from the documents of the service. It is kept in the data directory, because
 * vectors take minutes; a run that was broken off goes on where it was.
 */
final class EvaluationIndex implements AutoCloseable {

  private static final int BATCH = 1000;

  private final LuceneDocumentIndex index;

  private EvaluationIndex(LuceneDocumentIndex index) {
    this.index = index;
  }

  /**
   * Opens the index of a collection and fills it if need be.
   *
   * @param directory where indexes of collections are kept
   * @param vectors whether dense retrieval will be asked for
   */
  static EvaluationIndex open(Path directory, Dataset dataset, Embedder embedder, boolean vectors, PrintWriter out) {
    Path path = directory.resolve(dataset.name() + "-" + dataset.fingerprint());
    try {
      Files.createDirectories(path);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot create " + path, e);
    }
    LuceneDocumentIndex index =
        LuceneDocumentIndex.open(path, embedder, vectors ? EmbedMode.BACKGROUND : EmbedMode.NONE, change -> {});
    EvaluationIndex opened = new EvaluationIndex(index);
    try {
      opened.fill(dataset, path.resolve("complete"));
      VectorWait.until(index, dataset.name(), out);
    } catch (RuntimeException e) {
      index.close();
      throw e;
    }
    return opened;
  }

  DocumentIndex documents() {
    return index;
  }

  private void fill(Dataset dataset, Path complete) {
    if (Files.exists(complete)) {
      return;
    }
    try (Stream<Document> corpus = dataset.corpus().get()) {
      List<Document> batch = new ArrayList<>();
      for (Iterator<Document> documents = corpus.iterator(); documents.hasNext(); ) {
        batch.add(documents.next());
        if (batch.size() == BATCH || !documents.hasNext()) {
          index.put(batch);
          batch.clear();
        }
      }
      Files.writeString(complete, Long.toString(index.size()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    index.close();
  }
}
