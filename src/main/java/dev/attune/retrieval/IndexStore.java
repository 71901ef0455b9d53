package dev.attune.retrieval;

import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.concurrent.locks.ReentrantLock;
import org.apache.lucene.index.CorruptIndexException;
import org.apache.lucene.index.IndexFormatTooNewException;
import org.apache.lucene.index.IndexFormatTooOldException;
import org.apache.lucene.index.IndexNotFoundException;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.SearcherFactory;
import org.apache.lucene.search.SearcherManager;
import org.apache.lucene.search.similarities.BM25Similarity;
import org.apache.lucene.search.similarities.Similarity;
import org.apache.lucene.store.AlreadyClosedException;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.LockObtainFailedException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A Lucene index on disk with one writer at a time. A write is committed (synced to disk) before {@link #write}
 * returns. After kill −9 the next start finds the last commit: the operating system frees the lock.
 */
final class IndexStore implements Closeable {

  private static final Logger log = LoggerFactory.getLogger(IndexStore.class);

  /** How late a write without refresh may become visible, once somebody searches. */
  private static final long MAX_STALE_NANOS = 1_000_000_000L;

  static final Similarity SIMILARITY = new BM25Similarity(1.2f, 0.75f);

  private final Path path;
  private final FSDirectory directory;
  private final ReentrantLock lock = new ReentrantLock();
  private volatile Handles handles;
  private volatile boolean stale;
  private volatile long staleSince;

  private IndexStore(Path path, FSDirectory directory, Handles handles) {
    this.path = path;
    this.directory = directory;
    this.handles = handles;
  }

  /**
   * Opens the index, or makes an empty one.
   *
   * @throws IllegalStateException when it is in use by another process or cannot be read; the message says what to do
   */
  static IndexStore open(Path path) {
    try {
      FSDirectory directory = FSDirectory.open(path);
      try {
        return new IndexStore(path, directory, Handles.open(directory));
      } catch (IOException | RuntimeException e) {
        directory.close();
        throw e;
      }
    } catch (LockObtainFailedException e) {
      throw new IllegalStateException(
          "The document index in " + path + " is in use by another process; stop it or set another attune.data-dir", e);
    } catch (CorruptIndexException
        | IndexFormatTooNewException
        | IndexFormatTooOldException
        | IndexNotFoundException e) {
      throw new IllegalStateException(
          "The document index in " + path + " cannot be read (" + e.getMessage()
              + "); move the directory away, start again and send the documents again",
          e);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot open the document index in " + path, e);
    }
  }

  /** Reads from one consistent snapshot. */
  <T> T read(Read<T> read) {
    try {
      if (stale && System.nanoTime() - staleSince > MAX_STALE_NANOS) {
        refresh();
      }
      SearcherManager searchers = handles.searchers;
      IndexSearcher searcher = searchers.acquire();
      try {
        return read.apply(searcher);
      } finally {
        searchers.release(searcher);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read the document index in " + path, e);
    }
  }

  /**
   * Runs one write at a time, commits it and makes it visible. The write sees all writes before it.
   *
   * @param refresh false: others see it up to a second later
   */
  void write(Write write, boolean refresh) {
    lock.lock();
    try {
      if (stale) {
        refresh();
      }
      IndexWriter writer = handles.writer;
      read(
          searcher -> {
            write.apply(writer, searcher);
            return true;
          });
      writer.commit();
      stale = true;
      staleSince = System.nanoTime();
      if (refresh) {
        refresh();
      }
    } catch (IOException | UncheckedIOException | AlreadyClosedException e) {
      reopen();
      throw new IllegalStateException(
          "Cannot write the document index in " + path + " (" + e.getMessage()
              + "); nothing of this batch counts as stored: free disk space or check permissions, then send it again",
          e);
    } finally {
      lock.unlock();
    }
  }

  /** Runs something in the order of the writes; the lock is reentrant, so it may hold a write. */
  void inOrder(Runnable action) {
    lock.lock();
    try {
      action.run();
    } finally {
      lock.unlock();
    }
  }

  private void refresh() throws IOException {
    stale = false;
    handles.searchers.maybeRefreshBlocking();
  }

  /** After a failed write: drops what was not committed and starts from the last commit. */
  private void reopen() {
    try {
      Handles old = handles;
      old.searchers.close();
      old.writer.rollback();
      handles = Handles.open(directory);
      stale = false;
    } catch (IOException | RuntimeException e) {
      log.error("The document index in {} is closed after a failed write; restart the service", path, e);
    }
  }

  @Override
  public void close() throws IOException {
    lock.lock();
    try {
      handles.searchers.close();
      handles.writer.close();
      directory.close();
    } finally {
      lock.unlock();
    }
  }

  /** A read of a snapshot. */
  interface Read<T> {
    T apply(IndexSearcher searcher) throws IOException;
  }

  /** A write, with the state before it. */
  interface Write {
    void apply(IndexWriter writer, IndexSearcher before) throws IOException;
  }

  private record Handles(IndexWriter writer, SearcherManager searchers) {
    static Handles open(FSDirectory directory) throws IOException {
      IndexWriter writer =
          new IndexWriter(
              directory,
              new IndexWriterConfig(EnglishText.ANALYZER)
                  .setOpenMode(IndexWriterConfig.OpenMode.CREATE_OR_APPEND)
                  .setSimilarity(SIMILARITY)
                  .setRAMBufferSizeMB(64));
      try {
        writer.commit();
        return new Handles(writer, new SearcherManager(writer, new WithSimilarity()));
      } catch (IOException | RuntimeException e) {
        writer.rollback();
        throw e;
      }
    }
  }

  private static final class WithSimilarity extends SearcherFactory {
    @Override
    public IndexSearcher newSearcher(IndexReader reader, IndexReader previous) {
      IndexSearcher searcher = new IndexSearcher(reader);
      searcher.setSimilarity(SIMILARITY);
      return searcher;
    }
  }
}
