package dev.attune.ranking;

import dev.attune.llm.KvSegment;
import java.time.Duration;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/** The tier in memory: least recently used out first, bounded by bytes. */
final class ResidentDocumentKv implements DocumentKvStore {

  private final long limit;

  /** In order of use. Guarded by this, as all that follows. */
  private final LinkedHashMap<Slot, Entry> entries = new LinkedHashMap<>(64, 0.75f, true);

  private final Map<String, Integer> entriesOfDocument = new HashMap<>();
  private final Map<Key, Reading> readings = new HashMap<>();
  private long bytes;
  private long evicted;

  ResidentDocumentKv(long limit) {
    this.limit = limit;
  }

  @Override
  public synchronized @Nullable KvSegment find(Key key) {
    Entry entry = entries.get(new Slot(key.space(), key.documentId()));
    return entry != null && entry.contentHash.equals(key.contentHash()) ? entry.segment : null;
  }

  @Override
  public synchronized Claim claim(Key key) {
    KvSegment stored = find(key);
    if (stored != null) {
      return new Claimed(key, new Reading(CompletableFuture.completedFuture(stored)), false);
    }
    Reading running = readings.get(key);
    if (running != null) {
      return new Claimed(key, running, false);
    }
    Reading reading = new Reading(new CompletableFuture<>());
    readings.put(key, reading);
    return new Claimed(key, reading, true);
  }

  @Override
  public synchronized void retain(String documentId, @Nullable String contentHash) {
    // What is being read now is handed to those who wait for it, but no longer stored.
    readings.keySet().removeIf(key -> dead(key.documentId(), key.contentHash(), documentId, contentHash));
    if (!entriesOfDocument.containsKey(documentId)) {
      return;
    }
    for (Iterator<Map.Entry<Slot, Entry>> all = entries.entrySet().iterator(); all.hasNext(); ) {
      Map.Entry<Slot, Entry> next = all.next();
      if (dead(next.getKey().documentId, next.getValue().contentHash, documentId, contentHash)) {
        all.remove();
        forget(next.getKey(), next.getValue());
      }
    }
  }

  private static boolean dead(String id, String hash, String documentId, @Nullable String contentHash) {
    return id.equals(documentId) && !hash.equals(contentHash);
  }

  @Override
  public synchronized boolean holds(String documentId) {
    return entriesOfDocument.containsKey(documentId)
        || readings.keySet().stream().anyMatch(key -> key.documentId().equals(documentId));
  }

  @Override
  public synchronized Usage usage() {
    return new Usage(entries.size(), bytes, limit, evicted);
  }

  private synchronized void store(Key key, Reading reading, KvSegment segment) {
    // Not ours any more when the document changed or went away in the meantime.
    if (!readings.remove(key, reading) || segment.bytes() > limit) {
      return;
    }
    Slot slot = new Slot(key.space(), key.documentId());
    Entry old = entries.remove(slot);
    if (old != null) {
      forget(slot, old);
    }
    entries.put(slot, new Entry(key.contentHash(), segment));
    entriesOfDocument.merge(slot.documentId, 1, Integer::sum);
    bytes += segment.bytes();
    Iterator<Map.Entry<Slot, Entry>> eldest = entries.entrySet().iterator();
    while (bytes > limit) {
      Map.Entry<Slot, Entry> out = eldest.next();
      eldest.remove();
      forget(out.getKey(), out.getValue());
      evicted++;
    }
  }

  private void forget(Slot slot, Entry entry) {
    bytes -= entry.segment.bytes();
    entriesOfDocument.computeIfPresent(slot.documentId, (_, count) -> count == 1 ? null : count - 1);
  }

  private synchronized void abandon(Key key, Reading reading) {
    readings.remove(key, reading);
  }

  private record Slot(String space, String documentId) {}

  private record Entry(String contentHash, KvSegment segment) {}

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
