package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.ranking.DocumentKvStore.Key;
import dev.attune.ranking.segments.Digest;
import dev.attune.ranking.segments.SegmentStore;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiPredicate;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Entries on disk. What is found is read where the file is mapped, without a copy, or copied by a backend with memory
 * of its own: the system's page cache decides what of the files is in memory. A thread of its own writes; what waits
 * for it stays in the tier above.
 */
final class DiskTier implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(DiskTier.class);

  /** How long the keys and values of a deleted document may stay on disk. */
  private static final Duration RECLAIM_AFTER = Duration.ofMinutes(5);

  private static final Duration MAINTENANCE = Duration.ofSeconds(10);
  private static final Duration AFTER_FAILURE = Duration.ofMinutes(1);
  private static final Duration LAST_WRITES = Duration.ofSeconds(5);
  private static final int LONGEST_QUEUE = 4_096;

  private final SegmentStore store;
  /** Of each space that a model was prepared for. */
  private final Map<String, InferenceBackend> backends = new ConcurrentHashMap<>();
  private final RestoredSegments restored = new RestoredSegments();
  private final Thread writer = Thread.ofPlatform().daemon().name("document-kv-writer").unstarted(this::loop);

  // Guarded by queue.
  private final Deque<Key> queue = new ArrayDeque<>();
  private boolean closing;
  /** Time of {@link System#nanoTime} before which nothing is written, since the disk refused it. */
  private long pausedUntil = System.nanoTime();

  private volatile Function<Key, @Nullable KvSegment> source = _ -> null;
  private volatile BiPredicate<Key, KvSegment> written = (_, _) -> false;

  private DiskTier(SegmentStore store) {
    this.store = store;
  }

  /**
   * Opens the files of a directory.
   *
   * @param directory used by nobody else
   * @param limit most bytes on disk
   */
  static DiskTier open(Path directory, long limit) {
    try {
      return new DiskTier(SegmentStore.open(directory, limit, RECLAIM_AFTER, InstantSource.system()));
    } catch (IOException e) {
      throw new UncheckedIOException("The document store at " + directory + " cannot be opened", e);
    }
  }

  /**
   * Starts writing.
   *
   * @param waiting gives what is to be written under a key, null when it is no longer wanted
   * @param done told that something is on disk; returns false when it is no longer wanted
   */
  void start(Function<Key, @Nullable KvSegment> waiting, BiPredicate<Key, KvSegment> done) {
    source = waiting;
    written = done;
    writer.start();
  }

  void use(String space, InferenceBackend backend) {
    backends.put(space, backend);
    store.use(space);
  }

  /** @param use whether this is a use of the entry, which keeps it from being given up */
  @Nullable KvSegment find(Key key, boolean use) {
    InferenceBackend backend = backends.get(key.space());
    if (backend == null) {
      return null;
    }
    Digest document = Digest.of(key.documentId());
    Digest content = Digest.of(key.contentHash());
    MemorySegment image =
        use ? store.find(key.space(), document, content) : store.peek(key.space(), document, content);
    if (image == null) {
      return null;
    }
    try {
      return restored.over(key, image, backend);
    } catch (IllegalArgumentException e) {
      store.dropDamaged(key.space(), document, content);
      return null;
    }
  }

  boolean contains(Key key) {
    return store.contains(key.space(), Digest.of(key.documentId()), Digest.of(key.contentHash()));
  }

  /** Has an entry written soon. */
  void write(Key key) {
    synchronized (queue) {
      if (queue.size() < LONGEST_QUEUE && !closing) {
        queue.add(key);
        queue.notifyAll();
      }
    }
  }

  void retain(String documentId, @Nullable String contentHash) {
    store.retain(Digest.of(documentId), contentHash == null ? null : Digest.of(contentHash));
  }

  boolean holds(String documentId) {
    return store.holds(Digest.of(documentId));
  }

  void beginSweep() {
    store.beginSweep();
  }

  void keep(String documentId, String contentHash) {
    store.keep(Digest.of(documentId), Digest.of(contentHash));
  }

  int sweep() {
    return store.sweep();
  }

  /** Whether so many bytes more fit without giving up an entry. */
  boolean hasRoom(long bytes) {
    return store.hasRoom(bytes);
  }

  SegmentStore.Usage usage() {
    return store.usage();
  }

  private void loop() {
    long maintained = System.nanoTime();
    Key key;
    while ((key = next(maintained + MAINTENANCE.toNanos())) != null || !isClosing()) {
      try {
        if (key != null) {
          write(key, source.apply(key));
        }
        if (System.nanoTime() - maintained >= MAINTENANCE.toNanos()) {
          maintained = System.nanoTime();
          store.maintain();
          restored.dropStale(
              k -> store.place(k.space(), Digest.of(k.documentId()), Digest.of(k.contentHash())), backends::get);
        }
      } catch (RuntimeException e) {
        log.warn("A document that was read is not kept on disk", e);
      } catch (IOException e) {
        log.warn(
            "Documents that were read cannot be written to disk; trying again in {} s", AFTER_FAILURE.toSeconds(), e);
        synchronized (queue) {
          pausedUntil = System.nanoTime() + AFTER_FAILURE.toNanos();
        }
      }
    }
  }

  /** The next key to write, or null when it is time for something else. */
  private @Nullable Key next(long until) {
    synchronized (queue) {
      while (true) {
        long now = System.nanoTime();
        boolean paused = pausedUntil - now > 0;
        if (!queue.isEmpty() && !paused) {
          return queue.poll();
        }
        if (closing || until - now <= 0) {
          return null;
        }
        try {
          queue.wait((until - now) / 1_000_000 + 1);
        } catch (InterruptedException e) {
          // Nobody interrupts this thread; if somebody did, an open channel would be closed by it.
          log.debug("The writer was interrupted and goes on");
        }
      }
    }
  }

  private boolean isClosing() {
    synchronized (queue) {
      return closing;
    }
  }

  private void write(Key key, @Nullable KvSegment segment) throws IOException {
    InferenceBackend backend = backends.get(key.space());
    if (segment == null || backend == null || backend.ownMemory() > 0 && !store.hasRoom(segment.bytes())) {
      return;
    }
    Digest document = Digest.of(key.documentId());
    Digest content = Digest.of(key.contentHash());
    if (!store.put(key.space(), document, content, backend.image(segment))) {
      return;
    }
    MemorySegment image = store.find(key.space(), document, content);
    if (image != null) {
      restored.stored(key, segment, image, backend);
    }
    if (!written.test(key, segment)) {
      // Changed or deleted while it was written.
      store.retain(document, null);
    }
  }

  /** Writes what is waiting and closes the files; what was handed out stays valid. */
  @Override
  public void close() {
    synchronized (queue) {
      closing = true;
      queue.notifyAll();
    }
    try {
      if (writer.join(LAST_WRITES)) {
        store.close();
      } else {
        log.info("Not all documents that were read could be written to disk in time");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (IOException e) {
      log.warn("The document store was not closed cleanly", e);
    }
  }
}
