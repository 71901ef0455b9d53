package dev.attune.ranking.segments;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Values on disk, one per space and document, in memory-mapped segment files of at most 1/64 of the limit (see {@link
 * SegmentFormat} for their layout).
 *
 * <p><b>Room.</b> When the limit is reached, files of spaces that are not in use go first. Then the less recently used
 * half of the records (by bytes) is what may go: the file that holds most of it is given up (of several, the one used
 * longest ago), and its records of the more recently used half are written again behind the newest ones, as in a CLOCK
 * cache. At least half of a file is won at each step. Files with dead records, those of deleted or changed documents,
 * are written anew without them when half of a file is dead, or a few minutes after the first death.
 *
 * <p><b>Threads.</b> Lookups and {@link #retain} may come from any thread and never touch a file's channel. Everything
 * that writes belongs to one thread, which must not be interrupted: an interrupt would close the channel.
 *
 * <p><b>Crashes.</b> A killed process loses what was not yet written. Nothing is forced to the disk: after a power cut
 * checksums show what did not reach it. A death that was not yet written down is made good by a {@linkplain #sweep
 * sweep}.
 */
public final class SegmentStore implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(SegmentStore.class);

  private final SegmentDirectory directory;
  private final long limit;
  private final Duration reclaimAfter;
  private final InstantSource clock;

  // Guarded by this.
  private final RecordIndex index = new RecordIndex();
  private @Nullable String current;
  private int sweep;
  private long evicted;
  private long damaged;
  private boolean closed;

  private SegmentStore(Path directory, long limit, Duration reclaimAfter, InstantSource clock) {
    this.directory = new SegmentDirectory(directory, limit);
    this.limit = limit;
    this.reclaimAfter = reclaimAfter;
    this.clock = clock;
  }

  /**
   * Opens the store, reading the directories of its files. Files that cannot be used are deleted.
   *
   * @param directory of its own, which no other process uses
   * @param limit most bytes on disk; for a moment one file more while records are moved
   * @param reclaimAfter how long the bytes of a deleted document may stay
   */
  public static SegmentStore open(Path directory, long limit, Duration reclaimAfter, InstantSource clock)
      throws IOException {
    SegmentStore store = new SegmentStore(directory, limit, reclaimAfter, clock);
    store.read();
    return store;
  }

  private synchronized void read() throws IOException {
    SegmentDirectory.Found found = directory.open();
    damaged = found.unusable();
    for (SegmentFile file : found.files()) {
      damaged += file.damaged();
      index.open(file);
    }
    if (damaged > 0) {
      log.warn("Document store: {} damaged records; their documents will be read again", damaged);
    }
    makeRoom(0);
  }

  /** Names the space that is in use from now on; files of others go first when room is needed. */
  public synchronized void use(String space) {
    current = space;
  }

  /** Whether there is a record, without looking at it. */
  public synchronized boolean contains(String space, Digest document, Digest content) {
    return index.find(space, document, content) != null;
  }

  /**
   * The value, and a use of it. Its pages stay mapped as long as the returned segment or a slice of it is reachable,
   * whatever becomes of the record. A damaged one is dropped.
   */
  public @Nullable MemorySegment find(String space, Digest document, Digest content) {
    return find(space, document, content, true);
  }

  /** The same, without being a use of it: what is given up when room is needed stays the same. */
  public @Nullable MemorySegment peek(String space, Digest document, Digest content) {
    return find(space, document, content, false);
  }

  private @Nullable MemorySegment find(String space, Digest document, Digest content, boolean use) {
    StoredRecord record;
    synchronized (this) {
      record = index.find(space, document, content);
      if (record == null) {
        return null;
      }
      if (use) {
        record.lastUsed = now();
      }
    }
    if (record.intact()) {
      return record.value();
    }
    dropDamaged(record);
    return null;
  }

  /** Address at which the value is mapped, 0 when there is no record; no use of it. */
  public synchronized long place(String space, Digest document, Digest content) {
    StoredRecord record = index.find(space, document, content);
    return record == null ? 0 : record.value().address();
  }

  /** Drops a record whose value turned out to be of no use. */
  public synchronized void dropDamaged(String space, Digest document, Digest content) {
    StoredRecord record = index.find(space, document, content);
    if (record != null) {
      dropDamaged(record);
    }
  }

  private synchronized void dropDamaged(StoredRecord record) {
    if (record.live) {
      log.warn("A record in {} is damaged; its document will be read again", record.file.path);
      damaged++;
      index.remove(record);
    }
  }

  /** Drops every record of a document except those with this content; null drops them all. */
  public synchronized void retain(Digest document, @Nullable Digest content) {
    for (StoredRecord record : index.of(document)) {
      if (!record.content.equals(content)) {
        index.remove(record);
      }
    }
  }

  /** Whether there is a record of the document, in whatever space and of whatever content. */
  public synchronized boolean holds(Digest document) {
    return !index.of(document).isEmpty();
  }

  /** Begins to look for records of documents that are gone. */
  public synchronized void beginSweep() {
    sweep++;
  }

  /** Keeps the records of a document with this content over the sweep. */
  public synchronized void keep(Digest document, Digest content) {
    for (StoredRecord record : index.of(document)) {
      if (record.content.equals(content)) {
        record.sweep = sweep;
      }
    }
  }

  /** Drops what was there when the sweep began and was not kept. */
  public synchronized int sweep() {
    List<StoredRecord> gone = index.all().stream().filter(record -> record.sweep != sweep).toList();
    gone.forEach(index::remove);
    return gone.size();
  }

  /** Whether so many bytes more fit without giving up a record of the space in use. */
  public synchronized boolean hasRoom(long bytes) {
    String space = current == null ? "" : current;
    return index.bytes(current) + directory.need(space, bytes) <= budget();
  }

  /** Records are moved before their file is deleted. */
  private long budget() {
    return limit - directory.fileSize();
  }

  /**
   * Writes a value, in the place of an older one of the same space and document.
   *
   * @return false when it is too large for the store
   * @throws IOException when the disk is full, for example; nothing has changed then
   */
  public boolean put(String space, Digest document, Digest content, MemorySegment value) throws IOException {
    // A new file may be needed.
    long need = directory.need(space, value.byteSize());
    if (need > budget()) {
      return false;
    }
    writeDeaths();
    makeRoom(need);
    append(space, document, content, value, SegmentFormat.checksum(value), now(), null);
    return true;
  }

  private void append(
      String space, Digest document, Digest content, MemorySegment value, int checksum, int lastUsed,
      @Nullable StoredRecord moved)
      throws IOException {
    SegmentFile file = writable(space, value.byteSize());
    StoredRecord record = file.append(document, content, value, checksum, lastUsed);
    synchronized (this) {
      record.sweep = moved == null ? sweep : moved.sweep;
      index.written(record, moved);
    }
  }

  private SegmentFile writable(String space, long length) throws IOException {
    synchronized (this) {
      SegmentFile known = index.writable(space, length);
      if (known != null) {
        return known;
      }
    }
    SegmentFile file = directory.create(space, length);
    synchronized (this) {
      index.addFile(file);
    }
    return file;
  }

  private void makeRoom(long bytes) throws IOException {
    while (true) {
      SegmentFile victim;
      Set<StoredRecord> warm = new HashSet<>();
      synchronized (this) {
        if (index.files().isEmpty() || index.bytes() + bytes <= budget()) {
          return;
        }
        victim = index.unused(current);
        if (victim == null) {
          warm.addAll(index.moreRecentlyUsedHalf());
          victim = index.coldest(warm);
        }
        for (StoredRecord record : List.copyOf(victim.records)) {
          if (!warm.contains(record)) {
            evicted += record.file.header.space().equals(current) ? 1 : 0;
            index.giveUp(record);
          }
        }
      }
      moveAndDelete(victim);
    }
  }

  /** Writes the live records of a file behind the newest ones and deletes it. */
  private void moveAndDelete(SegmentFile file) throws IOException {
    List<StoredRecord> moving;
    synchronized (this) {
      index.removeFile(file);
      moving = List.copyOf(file.records);
    }
    boolean moved = false;
    try {
      for (StoredRecord record : moving) {
        if (record.intact()) {
          append(file.header.space(), record.document, record.content, record.value(), record.checksum,
              record.lastUsed, record);
        } else {
          dropDamaged(record);
        }
      }
      moved = true;
    } finally {
      if (!moved) {
        synchronized (this) {
          index.returnFile(file);
        }
      }
    }
    synchronized (this) {
      index.forgetDeaths(file);
    }
    directory.delete(file);
  }

  /**
   * Writes down what died and what was used, and gives the bytes of dead records back. To be called every few seconds.
   */
  public void maintain() throws IOException {
    writeDeaths();
    saveUse();
    for (SegmentFile file : reclaimable()) {
      moveAndDelete(file);
    }
    directory.collect();
  }

  private void writeDeaths() throws IOException {
    List<StoredRecord> dead;
    synchronized (this) {
      dead = index.takeDeaths();
    }
    for (StoredRecord record : dead) {
      record.file.markDead(record);
    }
  }

  private void saveUse() throws IOException {
    List<StoredRecord> used = new ArrayList<>();
    synchronized (this) {
      for (SegmentFile file : index.files()) {
        for (StoredRecord record : file.records) {
          if (record.lastUsed != record.savedLastUsed) {
            record.savedLastUsed = record.lastUsed;
            used.add(record);
          }
        }
      }
    }
    for (StoredRecord record : used) {
      record.file.saveLastUsed(record);
    }
  }

  private synchronized List<SegmentFile> reclaimable() {
    long now = System.nanoTime();
    return index.files().stream()
        .filter(file -> file.deadSince != 0)
        .filter(
            file ->
                file.records.isEmpty()
                    || file.deadBytes() > file.bytes() / 2
                    || now - file.deadSince >= reclaimAfter.toNanos())
        .toList();
  }

  /**
   * How full the store is.
   *
   * @param documents records
   * @param bytes on disk
   * @param limit most bytes on disk
   * @param evicted records of the space in use given up to make room, since the start
   * @param damaged records that were found damaged, since the start
   * @param unmapped bytes of deleted files that somebody may still read; the system frees them afterwards
   */
  public record Usage(int documents, long bytes, long limit, long evicted, long damaged, long unmapped) {}

  public synchronized Usage usage() {
    return new Usage(
        index.documents(),
        index.bytes(),
        limit,
        evicted,
        damaged,
        directory.unmappedBytes());
  }

  private int now() {
    return (int) clock.instant().getEpochSecond();
  }

  /** Writes down what is left to write. Values that were handed out stay valid. */
  @Override
  public void close() throws IOException {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
    }
    writeDeaths();
    saveUse();
    for (SegmentFile file : index.files()) {
      file.close();
    }
  }
}
