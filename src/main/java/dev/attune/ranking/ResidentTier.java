package dev.attune.ranking;

import dev.attune.llm.KvSegment;
import dev.attune.ranking.DocumentKvStore.Key;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Entries in memory of their own, bounded by bytes, least recently used out first. Not thread-safe: guarded by the lock
 * of {@link TieredDocumentKv}.
 */
final class ResidentTier {

  private long limit;

  /** In order of use, last used last. */
  private final LinkedHashMap<Slot, Entry> entries = new LinkedHashMap<>();

  private final Map<String, Integer> entriesOfDocument = new HashMap<>();
  private long bytes;
  private long evicted;

  ResidentTier(long limit) {
    this.limit = limit;
  }

  @Nullable KvSegment get(Key key) {
    Slot slot = new Slot(key.space(), key.documentId());
    Entry entry = entry(slot, key);
    if (entry == null) {
      return null;
    }
    entries.putLast(slot, entry);
    return entry.segment;
  }

  /** The same, without being a use of it. */
  @Nullable KvSegment peek(Key key) {
    Entry entry = entry(new Slot(key.space(), key.documentId()), key);
    return entry == null ? null : entry.segment;
  }

  private @Nullable Entry entry(Slot slot, Key key) {
    Entry entry = entries.get(slot);
    return entry != null && entry.contentHash.equals(key.contentHash()) ? entry : null;
  }

  /** Returns false when it is larger than the limit. */
  boolean put(Key key, KvSegment segment) {
    if (segment.bytes() > limit) {
      return false;
    }
    Slot slot = new Slot(key.space(), key.documentId());
    remove(slot);
    entries.put(slot, new Entry(key.contentHash(), segment));
    entriesOfDocument.merge(slot.documentId, 1, Integer::sum);
    bytes += segment.bytes();
    evict();
    return true;
  }

  private void evict() {
    Iterator<Map.Entry<Slot, Entry>> eldest = entries.entrySet().iterator();
    while (bytes > limit) {
      Map.Entry<Slot, Entry> out = eldest.next();
      eldest.remove();
      forget(out.getKey(), out.getValue());
      evicted++;
    }
  }

  /** Drops the entry if it is still this one. */
  boolean remove(Key key, KvSegment segment) {
    Slot slot = new Slot(key.space(), key.documentId());
    Entry entry = entries.get(slot);
    return entry != null && entry.segment == segment && remove(slot);
  }

  private boolean remove(Slot slot) {
    Entry entry = entries.remove(slot);
    if (entry != null) {
      forget(slot, entry);
    }
    return entry != null;
  }

  /** Drops every entry of a document except those with this content; null drops them all. */
  void retain(String documentId, @Nullable String contentHash) {
    if (!holds(documentId)) {
      return;
    }
    for (Iterator<Map.Entry<Slot, Entry>> all = entries.entrySet().iterator(); all.hasNext(); ) {
      Map.Entry<Slot, Entry> next = all.next();
      if (next.getKey().documentId.equals(documentId) && !next.getValue().contentHash.equals(contentHash)) {
        all.remove();
        forget(next.getKey(), next.getValue());
      }
    }
  }

  boolean holds(String documentId) {
    return entriesOfDocument.containsKey(documentId);
  }

  int documents() {
    return entries.size();
  }

  long bytes() {
    return bytes;
  }

  long limit() {
    return limit;
  }

  void limit(long bytes) {
    limit = bytes;
    evict();
  }

  long evicted() {
    return evicted;
  }

  private void forget(Slot slot, Entry entry) {
    bytes -= entry.segment.bytes();
    entriesOfDocument.computeIfPresent(slot.documentId, (_, count) -> count == 1 ? null : count - 1);
  }

  private record Slot(String space, String documentId) {}

  private record Entry(String contentHash, KvSegment segment) {}
}
