package dev.attune.retrieval;

import dev.attune.background.BackgroundThread;
import dev.attune.background.ForegroundTraffic;
import dev.attune.retrieval.DocumentIndex.EmbeddingProgress;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.TermQuery;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Computes the vectors of documents that were written without one. What is missing is read from the index itself, so
 * the job goes on after a restart where it was.
 */
final class VectorBackfill implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(VectorBackfill.class);

  /** Documents between two commits: a few seconds of work. */
  private static final int ROUND = 128;

  /** Documents per call of the embedder: some 200 ms of one core, after which it looks whether somebody waits. */
  private static final int CALL = 8;

  private static final Duration QUIET = Duration.ofMillis(200);

  /** A service that is never quiet gets a call in so often. */
  private static final Duration PATIENCE = Duration.ofSeconds(2);

  private final IndexStore store;
  private final Embedder embedder;
  private final ForegroundTraffic traffic;
  private final AtomicBoolean wanted = new AtomicBoolean();
  private final Thread thread;
  private final ExecutorService computing =
      Executors.newSingleThreadExecutor(work -> BackgroundThread.of("vector-computing", work));
  private boolean called;

  /** Guarded by {@code wanted}. */
  private boolean waiting;

  private volatile boolean running;
  private volatile boolean closed;
  private volatile double rate;
  private volatile @Nullable String error;

  VectorBackfill(IndexStore store, Embedder embedder, ForegroundTraffic traffic) {
    this.store = store;
    this.embedder = embedder;
    this.traffic = traffic;
    this.thread = Thread.ofPlatform().name("vector-backfill").daemon().unstarted(this::loop);
  }

  void start() {
    wanted.set(true);
    thread.start();
  }

  /** Tells the job that there may be work. */
  void wake() {
    wanted.set(true);
    synchronized (wanted) {
      wanted.notifyAll();
    }
  }

  EmbeddingProgress progress() {
    return store.read(
        searcher -> {
          long total = searcher.getIndexReader().numDocs();
          long pending = searcher.count(new TermQuery(new Term(IndexFields.PENDING, "1")));
          return new EmbeddingProgress(total - pending, total, running, rate, error);
        });
  }

  private void loop() {
    try {
      awaitTurn();
      while (!closed) {
        if (wanted.getAndSet(false)) {
          run();
        } else {
          synchronized (wanted) {
            while (!wanted.get() && !closed) {
              wanted.wait();
            }
          }
        }
      }
    } catch (InterruptedException e) {
      log.debug("Computing vectors stops");
    }
  }

  /** Waits while others need the machine; only here an interrupt does no harm to the files of the index. */
  private void awaitTurn() throws InterruptedException {
    synchronized (wanted) {
      if (closed) {
        throw new InterruptedException();
      }
      waiting = true;
    }
    try {
      traffic.awaitQuiet(QUIET, PATIENCE);
    } finally {
      synchronized (wanted) {
        waiting = false;
      }
    }
    if (closed && Thread.interrupted()) {
      throw new InterruptedException();
    }
  }

  private void run() throws InterruptedException {
    long start = System.nanoTime();
    long done = 0;
    error = null;
    try {
      List<Work> round = next();
      running = !round.isEmpty();
      while (!round.isEmpty() && !closed) {
        List<float[]> vectors = new ArrayList<>();
        for (int from = 0; from < round.size() && !closed; from += CALL) {
          awaitTurn();
          List<Work> call = round.subList(from, Math.min(from + CALL, round.size()));
          vectors.addAll(embed(call.stream().map(w -> IndexFields.embedded(w.document())).toList()));
          rate = (done + vectors.size()) * 1e9 / (System.nanoTime() - start);
        }
        write(round.subList(0, vectors.size()), vectors);
        done += vectors.size();
        round = next();
      }
      if (done > 0) {
        log.info("Computed vectors of {} documents, {} a second", done, Math.round(rate));
      }
    } catch (RuntimeException e) {
      if (!closed) {
        error = String.valueOf(e.getMessage());
        log.warn("Computing vectors stopped after {} documents; it goes on at the next write or start", done, e);
      }
    } finally {
      running = false;
    }
  }

  private List<float[]> embed(List<String> texts) throws InterruptedException {
    if (!called) {
      // The first call starts threads that all others share, queries as well.
      called = true;
      return embedder.embed(texts);
    }
    try {
      return computing.submit(() -> embedder.embed(texts)).get();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause().getMessage(), e.getCause());
    }
  }

  /** The next documents without a vector, of similar length. */
  private List<Work> next() {
    return store.read(
        searcher -> {
          List<Work> work = new ArrayList<>();
          var hits = searcher.search(new TermQuery(new Term(IndexFields.PENDING, "1")), ROUND).scoreDocs;
          for (ScoreDoc hit : hits) {
            byte[] source = IndexReads.source(searcher, hit.doc);
            work.add(new Work(DocumentJson.read(source), source));
          }
          work.sort(Comparator.comparingInt(w -> w.source().length));
          return work;
        });
  }

  private void write(List<Work> round, List<float[]> vectors) {
    if (round.isEmpty()) {
      return;
    }
    store.write(
        (writer, before) -> {
          for (int i = 0; i < round.size(); i++) {
            Work work = round.get(i);
            int doc = IndexReads.docId(before, work.document().id());
            // Deleted or replaced meanwhile: the vector is of no use.
            if (doc >= 0 && Arrays.equals(IndexReads.source(before, doc), work.source())) {
              writer.updateDocument(
                  new Term(IndexFields.ID, work.document().id()),
                  IndexFields.toLucene(work.document(), work.source(), vectors.get(i)));
            }
          }
        },
        true);
  }

  /** Stops after the call of the embedder that is running. */
  @Override
  public void close() throws IOException {
    synchronized (wanted) {
      closed = true;
      if (waiting) {
        thread.interrupt();
      }
    }
    wake();
    try {
      thread.join();
      computing.shutdown();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private record Work(Document document, byte[] source) {}
}
