package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.ranking.segments.SegmentStore;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Memory above disk. What was just read is held in memory until it is written; from then on it is used where the file
 * is mapped and no longer counts as memory of the service. Without a disk tier, or when the disk refuses, memory is
 * all. A backend with memory of its own reads a document again in less time than it takes to write it: what it read
 * stays in that memory, and nothing on disk is given up for it.
 */
final class TieredDocumentKv implements DocumentKvStore, AutoCloseable {

  /** Of a backend's own memory; the rest is for what calls need beside documents. */
  private static final double DOCUMENTS_SHARE = 0.8;

  private final long residentLimit;
  /** Guarded by this, as {@link #readings}. */
  private final ResidentTier resident;

  private final Map<Key, Reading> readings = new HashMap<>();
  private final @Nullable DiskTier disk;
  /** Whether documents lie in memory of the backend. */
  private volatile boolean apart;

  /** @param residentLimit bytes in memory of the service */
  TieredDocumentKv(long residentLimit, @Nullable DiskTier disk) {
    this.residentLimit = residentLimit;
    this.resident = new ResidentTier(residentLimit);
    this.disk = disk;
    if (disk != null) {
      disk.start(this::waiting, this::written);
    }
  }

  @Override
  public void use(String space, InferenceBackend backend) {
    long own = backend.ownMemory();
    apart = own > 0;
    synchronized (this) {
      resident.limit(own > 0 ? (long) (own * DOCUMENTS_SHARE) : residentLimit);
    }
    if (disk != null) {
      disk.use(space, backend);
    }
  }

  @Override
  public @Nullable KvSegment find(Key key) {
    KvSegment segment = waiting(key);
    return segment == null && disk != null ? disk.find(key, true) : segment;
  }

  @Override
  public @Nullable KvSegment peek(Key key) {
    KvSegment segment;
    synchronized (this) {
      segment = resident.peek(key);
    }
    return segment == null && disk != null ? disk.find(key, false) : segment;
  }

  @Override
  public boolean contains(Key key) {
    return waiting(key) != null || disk != null && disk.contains(key);
  }

  private synchronized @Nullable KvSegment waiting(Key key) {
    return resident.get(key);
  }

  private synchronized boolean written(Key key, KvSegment segment) {
    return resident.remove(key, segment);
  }

  @Override
  public Claim claim(Key key) {
    KvSegment stored = find(key);
    if (stored != null) {
      return new Claimed(key, new Reading(CompletableFuture.completedFuture(stored)), false);
    }
    synchronized (this) {
      // Stored in the meantime, or being read.
      KvSegment resident = waiting(key);
      Reading running = resident == null ? readings.get(key) : new Reading(CompletableFuture.completedFuture(resident));
      if (running != null) {
        return new Claimed(key, running, false);
      }
      Reading reading = new Reading(new CompletableFuture<>());
      readings.put(key, reading);
      return new Claimed(key, reading, true);
    }
  }

  @Override
  public void retain(String documentId, @Nullable String contentHash) {
    synchronized (this) {
      // What is being read now is handed to those who wait for it, but no longer stored.
      readings.keySet().removeIf(key -> key.documentId().equals(documentId) && !key.contentHash().equals(contentHash));
      resident.retain(documentId, contentHash);
    }
    if (disk != null) {
      disk.retain(documentId, contentHash);
    }
  }

  @Override
  public boolean holds(String documentId) {
    synchronized (this) {
      if (resident.holds(documentId)
          || readings.keySet().stream().anyMatch(key -> key.documentId().equals(documentId))) {
        return true;
      }
    }
    return disk != null && disk.holds(documentId);
  }

  @Override
  public boolean hasRoom() {
    Usage usage = usage();
    Stored stored = usage.stored();
    int documents = usage.documents() + stored.documents();
    long twice = documents == 0 ? 0 : 2 * ((usage.bytes() + stored.bytes()) / documents);
    boolean inMemory = usage.bytes() + twice <= usage.limit();
    return inMemory && (disk == null || apart || disk.hasRoom(usage.bytes() + twice));
  }

  @Override
  public Sweep sweep() {
    DiskTier swept = disk;
    if (swept == null) {
      return Sweep.NOTHING;
    }
    swept.beginSweep();
    return new Sweep() {
      @Override
      public void keep(String documentId, String contentHash) {
        swept.keep(documentId, contentHash);
      }

      @Override
      public int finish() {
        return swept.sweep();
      }
    };
  }

  @Override
  public Usage usage() {
    SegmentStore.Usage files = disk == null ? null : disk.usage();
    Stored stored =
        files == null
            ? Stored.NONE
            : new Stored(files.documents(), files.bytes(), files.limit(), files.evicted(), files.damaged());
    synchronized (this) {
      return new Usage(resident.documents(), resident.bytes(), resident.limit(), resident.evicted(), stored);
    }
  }

  @Override
  public void close() {
    if (disk != null) {
      disk.close();
    }
  }

  private synchronized void store(Key key, Reading reading, KvSegment segment) {
    // Not ours any more when the document changed or went away in the meantime.
    if (readings.remove(key, reading) && resident.put(key, segment) && disk != null) {
      disk.write(key);
    }
  }

  private synchronized void abandon(Key key, Reading reading) {
    readings.remove(key, reading);
  }

  /** Completes with null when the reader gave up. Compared by identity. */
  private static final class Reading {
    final CompletableFuture<@Nullable KvSegment> result;

    Reading(CompletableFuture<@Nullable KvSegment> result) {
      this.result = result;
    }
  }

  private final class Claimed implements Claim {
    private final Key key;
    private final Reading reading;
    private final boolean mine;

    Claimed(Key key, Reading reading, boolean mine) {
      this.key = key;
      this.reading = reading;
      this.mine = mine;
    }

    @Override
    public boolean mine() {
      return mine;
    }

    @Override
    public void complete(KvSegment segment) {
      store(key, reading, segment);
      reading.result.complete(segment);
    }

    @Override
    public void fail() {
      abandon(key, reading);
      reading.result.complete(null);
    }

    @Override
    public @Nullable KvSegment await(Duration limit) throws TimeoutException, InterruptedException {
      try {
        return reading.result.get(limit.toNanos(), TimeUnit.NANOSECONDS);
      } catch (ExecutionException e) {
        throw new IllegalStateException("a reading never completes exceptionally", e);
      }
    }
  }
}
