package dev.attune.retrieval;

import dev.attune.background.ForegroundTraffic;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.LongPredicate;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.util.Bits;
import org.jspecify.annotations.Nullable;

/**
 * {@link DocumentIndex} on Apache Lucene: BM25F, an HNSW graph of vectors, doc values for filters and facets. See
 * {@code IndexFields} for the layout.
 */
public final class LuceneDocumentIndex implements DocumentIndex, AutoCloseable {

  /** Documents between two commits of {@link #reindex}. */
  private static final int REINDEX_BATCH = 500;

  private final IndexStore store;
  private final Embedder embedder;
  private final EmbedMode mode;
  private final Consumer<DocumentsChanged> listener;
  private final CandidateSearch search;
  private final @Nullable VectorBackfill backfill;

  private LuceneDocumentIndex(
      IndexStore store,
      Embedder embedder,
      EmbedMode mode,
      ForegroundTraffic traffic,
      Consumer<DocumentsChanged> listener) {
    this.store = store;
    this.embedder = embedder;
    this.mode = mode;
    this.listener = listener;
    this.search = new CandidateSearch(store, mode == EmbedMode.NONE ? null : embedder);
    this.backfill = mode == EmbedMode.NONE ? null : new VectorBackfill(store, embedder, traffic);
  }

  /** The same where nobody else needs the machine. */
  public static LuceneDocumentIndex open(
      Path directory, Embedder embedder, EmbedMode mode, Consumer<DocumentsChanged> listener) {
    return open(directory, embedder, mode, new ForegroundTraffic(), listener);
  }

  /**
   * Opens the index in a directory, or makes an empty one, and goes on computing missing vectors.
   *
   * @param traffic what the computing of vectors steps aside for
   * @param listener called after every commit, in the order of the commits
   * @throws IllegalStateException when the directory is in use or cannot be read; the message says what to do
   */
  public static LuceneDocumentIndex open(
      Path directory,
      Embedder embedder,
      EmbedMode mode,
      ForegroundTraffic traffic,
      Consumer<DocumentsChanged> listener) {
    LuceneDocumentIndex index =
        new LuceneDocumentIndex(IndexStore.open(directory), embedder, mode, traffic, listener);
    if (index.backfill != null) {
      index.backfill.start();
    }
    return index;
  }

  @Override
  public void put(List<Document> documents) {
    put(documents, true);
  }

  /**
   * Adds or replaces documents by id; of two with the same id the later one counts. Durable when the call returns.
   *
   * @param refresh false: visible to searches up to a second later
   */
  void put(List<Document> documents, boolean refresh) {
    if (documents.isEmpty()) {
      return;
    }
    SequencedMap<String, Document> byId = new LinkedHashMap<>();
    documents.forEach(document -> byId.put(document.id(), document));
    List<Document> distinct = List.copyOf(byId.values());
    store.inOrder(
        () -> {
          store.write(
              (writer, before) -> {
                for (Prepared change : prepare(before, distinct)) {
                  writer.updateDocument(
                      new Term(IndexFields.ID, change.document().id()),
                      IndexFields.toLucene(change.document(), change.source(), change.vector()));
                }
              },
              refresh);
          listener.accept(new DocumentsChanged(distinct, List.of()));
        });
    if (backfill != null && mode == EmbedMode.BACKGROUND) {
      backfill.wake();
    }
  }

  /** Leaves out what is in the index already, and finds or computes the vectors of the rest. */
  private List<Prepared> prepare(IndexSearcher before, List<Document> documents) throws IOException {
    List<Prepared> changes = new ArrayList<>();
    for (Document document : documents) {
      byte[] source = DocumentJson.write(document);
      float[] vector = null;
      int existing = IndexReads.docId(before, document.id());
      if (existing >= 0) {
        byte[] old = IndexReads.source(before, existing);
        if (Arrays.equals(old, source) && (mode != EmbedMode.INLINE || IndexReads.vector(before, existing) != null)) {
          continue;
        }
        if (IndexFields.embedded(DocumentJson.read(old)).equals(IndexFields.embedded(document))) {
          vector = IndexReads.vector(before, existing);
        }
      }
      changes.add(new Prepared(document, source, vector));
    }
    return mode == EmbedMode.INLINE ? embedMissing(changes) : changes;
  }

  private List<Prepared> embedMissing(List<Prepared> changes) {
    List<Prepared> missing = changes.stream().filter(change -> change.vector() == null).toList();
    List<float[]> vectors =
        embedder.embed(missing.stream().map(change -> IndexFields.embedded(change.document())).toList());
    Map<String, float[]> byId = new LinkedHashMap<>();
    for (int i = 0; i < missing.size(); i++) {
      byId.put(missing.get(i).document().id(), vectors.get(i));
    }
    return changes.stream()
        .map(
            change ->
                change.vector() != null
                    ? change
                    : new Prepared(change.document(), change.source(), byId.get(change.document().id())))
        .toList();
  }

  @Override
  public Optional<Document> find(String id) {
    return store.read(searcher -> Optional.ofNullable(find(searcher, id)));
  }

  @Override
  public List<Document> findAll(List<String> ids) {
    return store.read(
        searcher -> {
          List<Document> found = new ArrayList<>();
          for (String id : ids) {
            Document document = find(searcher, id);
            if (document != null) {
              found.add(document);
            }
          }
          return found;
        });
  }

  private static @Nullable Document find(IndexSearcher searcher, String id) throws IOException {
    int doc = IndexReads.docId(searcher, id);
    return doc < 0 ? null : DocumentJson.read(IndexReads.source(searcher, doc));
  }

  @Override
  public boolean delete(String id) {
    AtomicBoolean existed = new AtomicBoolean();
    store.inOrder(
        () -> {
          store.write(
              (writer, before) -> {
                existed.set(IndexReads.docId(before, id) >= 0);
                if (existed.get()) {
                  writer.deleteDocuments(new Term(IndexFields.ID, id));
                }
              },
              true);
          if (existed.get()) {
            listener.accept(new DocumentsChanged(List.of(), List.of(id)));
          }
        });
    return existed.get();
  }

  @Override
  public long size() {
    return store.read(searcher -> (long) searcher.getIndexReader().numDocs());
  }

  @Override
  public long reindex(LongPredicate progress) {
    List<String> ids = new ArrayList<>();
    forEach(document -> ids.add(document.id()));
    long[] done = {0};
    for (int from = 0; from < ids.size(); from += REINDEX_BATCH) {
      List<String> batch = ids.subList(from, Math.min(ids.size(), from + REINDEX_BATCH));
      store.inOrder(
          () -> {
            List<Document> written = new ArrayList<>();
            store.write(
                (writer, before) -> {
                  for (String id : batch) {
                    int doc = IndexReads.docId(before, id);
                    if (doc >= 0) {
                      byte[] source = IndexReads.source(before, doc);
                      Document document = DocumentJson.read(source);
                      writer.updateDocument(
                          new Term(IndexFields.ID, id),
                          IndexFields.toLucene(document, source, IndexReads.vector(before, doc)));
                      written.add(document);
                    }
                  }
                },
                true);
            listener.accept(new DocumentsChanged(written, List.of()));
            done[0] += written.size();
          });
      if (!progress.test(done[0])) {
        break;
      }
    }
    return done[0];
  }

  @Override
  public void forEach(Consumer<Document> visitor) {
    store.read(
        searcher -> {
          for (LeafReaderContext leaf : searcher.getIndexReader().leaves()) {
            Bits live = leaf.reader().getLiveDocs();
            for (int doc = 0; doc < leaf.reader().maxDoc(); doc++) {
              if (live == null || live.get(doc)) {
                visitor.accept(DocumentJson.read(IndexReads.source(searcher, leaf.docBase + doc)));
              }
            }
          }
          return true;
        });
  }

  @Override
  public RetrievalResult search(RetrievalRequest request) {
    return search.search(request);
  }

  @Override
  public EmbeddingProgress embeddingProgress() {
    if (backfill != null) {
      return backfill.progress();
    }
    long size = size();
    return new EmbeddingProgress(size, size, false, 0, null);
  }

  /** Stops the background job and closes the files; what was acknowledged is on disk already. */
  @Override
  public void close() {
    try {
      if (backfill != null) {
        backfill.close();
      }
      store.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * A document about to be written.
   *
   * @param vector null when it is not known yet
   */
  private record Prepared(Document document, byte[] source, float @Nullable [] vector) {}
}
