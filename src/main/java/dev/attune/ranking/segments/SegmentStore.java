package dev.attune.ranking.segments;

import dev.attune.ranking.segments.SegmentFormat.Header;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Values on disk, one per space and document, in memory-mapped segment files of at most 1/64 of the limit (see {@link
 * SegmentFormat} for their layout).
 *
 * <p><b>Room.</b> When the limit is reached, files of spaces that are not in use go first. Then the less recently used
 * half of the records (by bytes) is what may go: the file that holds most of it is given up (of several, the one used longest ago), and its records of the more
 * recently used half are written again behind the newest ones, as in a CLOCK cache. At least half of a file is won at
 * each step. Files with dead records, those of deleted or changed documents, are written anew without them when half of
 * a file is dead, or a few minutes after the first death.
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

  private static final String SUFFIX = ".kv";
  private static final int FILES = 64;
  private static final long SMALLEST_FILE = 64 << 10;
  private static final long LARGEST_FILE = 64 << 20;
  /** Bytes of values for which the directory has an entry. */
  private static final long BYTES_PER_ENTRY = 8 << 10;
  private static final int FEWEST_ENTRIES = 64;

  private final Path directory;
  private final long limit;
  private final long fileSize;
  /** Entries of a file's directory. */
  private final int capacity;
  private final Duration reclaimAfter;
  private final InstantSource clock;
  private final UnmappedFiles unmapped = new UnmappedFiles();

  // Guarded by this.
  private final Map<String, Map<Digest, StoredRecord>> spaces = new HashMap<>();
  private final List<SegmentFile> files = new ArrayList<>();
  private final Deque<StoredRecord> deaths = new ArrayDeque<>();
  private @Nullable String current;
  private long nextSequence;
  private int sweep;
  private long evicted;
  private long damaged;
  private boolean closed;

  private SegmentStore(Path directory, long limit, Duration reclaimAfter, InstantSource clock) {
    this.directory = directory;
    this.limit = limit;
    this.fileSize = Math.clamp(limit / FILES, SMALLEST_FILE, LARGEST_FILE);
    this.capacity = (int) Math.max(FEWEST_ENTRIES, fileSize / BYTES_PER_ENTRY);
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
    List<Path> paths;
    try (Stream<Path> all = Files.list(directory)) {
      paths = all.filter(path -> path.getFileName().toString().matches("[0-9a-f]{16}\\" + SUFFIX)).sorted().toList();
    }
    for (Path path : paths) {
      long sequence = Long.parseUnsignedLong(path.getFileName().toString().substring(0, 16), 16);
      nextSequence = sequence + 1;
      SegmentFile file = SegmentFile.open(path, sequence);
      if (file == null) {
        log.info("{} is damaged or of another version; its documents will be read again", path);
        damaged++;
        Files.delete(path);
      } else {
        add(file);
      }
    }
    if (damaged > 0) {
      log.warn("Document store: {} damaged records; their documents will be read again", damaged);
    }
    makeRoom(0);
  }

  private void add(SegmentFile file) {
    files.add(file);
    damaged += file.damaged();
    for (StoredRecord record : List.copyOf(file.records)) {
      // A later record for the same document is the newer one.
      StoredRecord older = records(file).put(record.document, record);
      if (older != null) {
        die(older);
      }
    }
    if (file.damaged() > 0 || file.deadBytes() > 0) {
      file.deadSince = System.nanoTime();
    }
  }

  private Map<Digest, StoredRecord> records(SegmentFile file) {
    return spaces.computeIfAbsent(file.header.space(), _ -> new HashMap<>());
  }

  /** Names the space that is in use from now on; files of others go first when room is needed. */
  public synchronized void use(String space) {
    current = space;
  }

  /** Whether there is a record, without looking at it. */
  public synchronized boolean contains(String space, Digest document, Digest content) {
    return lookup(space, document, content) != null;
  }

  /**
   * The value, and a use of it. Its pages stay mapped as long as the returned segment or a slice of it is reachable,
   * whatever becomes of the record. A damaged one is dropped.
   */
  public @Nullable MemorySegment find(String space, Digest document, Digest content) {
    StoredRecord record;
    synchronized (this) {
      record = lookup(space, document, content);
      if (record == null) {
        return null;
      }
      record.lastUsed = now();
    }
    if (record.intact()) {
      return record.value();
    }
    dropDamaged(record);
    return null;
  }

  /** Drops a record whose value turned out to be of no use. */
  public synchronized void dropDamaged(String space, Digest document, Digest content) {
    StoredRecord record = lookup(space, document, content);
    if (record != null) {
      dropDamaged(record);
    }
  }

  private synchronized void dropDamaged(StoredRecord record) {
    if (record.live) {
      log.warn("A record in {} is damaged; its document will be read again", record.file.path);
      damaged++;
      remove(record);
    }
  }

  private @Nullable StoredRecord lookup(String space, Digest document, Digest content) {
    Map<Digest, StoredRecord> records = spaces.get(space);
    StoredRecord record = records == null ? null : records.get(document);
    return record != null && record.content.equals(content) ? record : null;
  }

  /** Drops every record of a document except those with this content; null drops them all. */
  public synchronized void retain(Digest document, @Nullable Digest content) {
    for (Map<Digest, StoredRecord> records : spaces.values()) {
      StoredRecord record = records.get(document);
      if (record != null && !record.content.equals(content)) {
        remove(record);
      }
    }
  }

  /** Whether there is a record of the document, in whatever space and of whatever content. */
  public synchronized boolean holds(Digest document) {
    return spaces.values().stream().anyMatch(records -> records.containsKey(document));
  }

  private void remove(StoredRecord record) {
    records(record.file).remove(record.document, record);
    die(record);
  }

  private void die(StoredRecord record) {
    SegmentFile file = record.file;
    record.live = false;
    file.records.remove(record);
    file.liveBytes -= record.bytes();
    if (file.deadSince == 0) {
      file.deadSince = System.nanoTime();
    }
    deaths.add(record);
  }

  /** Begins to look for records of documents that are gone. */
  public synchronized void beginSweep() {
    sweep++;
  }

  /** Keeps the records of a document with this content over the sweep. */
  public synchronized void keep(Digest document, Digest content) {
    for (Map<Digest, StoredRecord> records : spaces.values()) {
      StoredRecord record = records.get(document);
      if (record != null && record.content.equals(content)) {
        record.sweep = sweep;
      }
    }
  }

  /** Drops what was there when the sweep began and was not kept. */
  public synchronized int sweep() {
    List<StoredRecord> gone =
        spaces.values().stream()
            .flatMap(records -> records.values().stream())
            .filter(record -> record.sweep != sweep)
            .toList();
    gone.forEach(this::remove);
    return gone.size();
  }

  /** Whether so many bytes more fit without giving up a record of the space in use. */
  public synchronized boolean hasRoom(long bytes) {
    long used =
        files.stream().filter(file -> file.header.space().equals(current)).mapToLong(SegmentFile::bytes).sum();
    return used + bytes <= budget();
  }

  /** Records are moved before their file is deleted. */
  private long budget() {
    return limit - fileSize;
  }

  /**
   * Writes a value, in the place of an older one of the same space and document.
   *
   * @return false when it is too large for the store
   * @throws IOException when the disk is full, for example; nothing has changed then
   */
  public boolean put(String space, Digest document, Digest content, MemorySegment value) throws IOException {
    // A new file may be needed.
    long need = new Header(fileSize, capacity, space).firstValue() + SegmentFormat.aligned(value.byteSize());
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
      file.records.add(record);
      file.liveBytes += record.bytes();
      if (moved != null && !moved.live) {
        // It died while it was copied.
        die(record);
        return;
      }
      record.sweep = moved == null ? sweep : moved.sweep;
      StoredRecord older = records(file).put(document, record);
      if (older != null) {
        die(older);
      }
    }
  }

  private SegmentFile writable(String space, long length) throws IOException {
    Header header;
    long sequence;
    synchronized (this) {
      for (SegmentFile file : files.reversed()) {
        if (file.header.space().equals(space) && file.fits(length)) {
          return file;
        }
      }
      long least = new Header(fileSize, capacity, space).firstValue() + SegmentFormat.aligned(length);
      header = new Header(Math.max(fileSize, least), capacity, space);
      sequence = nextSequence++;
    }
    SegmentFile file = SegmentFile.create(directory.resolve("%016x%s".formatted(sequence, SUFFIX)), sequence, header);
    synchronized (this) {
      files.add(file);
    }
    return file;
  }

  private void makeRoom(long bytes) throws IOException {
    while (true) {
      SegmentFile victim;
      Set<StoredRecord> warm = new HashSet<>();
      synchronized (this) {
        long used = files.stream().mapToLong(SegmentFile::bytes).sum();
        if (files.isEmpty() || used + bytes <= budget()) {
          return;
        }
        victim = unused();
        if (victim == null) {
          warm.addAll(moreRecentlyUsedHalf());
          victim = coldest(warm);
        }
        for (StoredRecord record : List.copyOf(victim.records)) {
          if (!warm.contains(record)) {
            evicted += record.file.header.space().equals(current) ? 1 : 0;
            records(victim).remove(record.document, record);
            victim.records.remove(record);
            record.live = false;
          }
        }
      }
      moveAndDelete(victim);
    }
  }

  /** A file of a space that is not in use, the one used longest ago; null when there is none. */
  private @Nullable SegmentFile unused() {
    return files.stream()
        .filter(file -> current != null && !file.header.space().equals(current))
        .min(
            Comparator.comparingInt(SegmentFile::lastUsed).thenComparingLong(file -> file.sequence))
        .orElse(null);
  }

  private List<StoredRecord> moreRecentlyUsedHalf() {
    List<StoredRecord> all = new ArrayList<>();
    files.forEach(file -> all.addAll(file.records));
    all.sort(
        Comparator.<StoredRecord>comparingInt(record -> -record.lastUsed)
            .thenComparingLong(record -> -record.file.sequence)
            .thenComparingInt(record -> -record.slot));
    long half = all.stream().mapToLong(StoredRecord::bytes).sum() / 2;
    long sum = 0;
    int count = 0;
    while (count < all.size() && sum + all.get(count).bytes() <= half) {
      sum += all.get(count++).bytes();
    }
    return all.subList(0, count);
  }

  private SegmentFile coldest(Set<StoredRecord> warm) {
    return files.stream()
        .min(
            Comparator.<SegmentFile>comparingDouble(
                    file ->
                        (double) file.records.stream().filter(warm::contains).mapToLong(StoredRecord::bytes).sum()
                            / file.bytes())
                .thenComparingInt(SegmentFile::lastUsed)
                .thenComparingLong(file -> file.sequence))
        .orElseThrow();
  }

  /** Writes the live records of a file behind the newest ones and deletes it. */
  private void moveAndDelete(SegmentFile file) throws IOException {
    List<StoredRecord> moving;
    synchronized (this) {
      files.remove(file);
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
          files.addFirst(file);
        }
      }
    }
    synchronized (this) {
      deaths.removeIf(record -> record.file == file);
    }
    file.close();
    Files.deleteIfExists(file.path);
    unmapped.add(file);
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
    unmapped.collect();
  }

  private void writeDeaths() throws IOException {
    List<StoredRecord> dead;
    synchronized (this) {
      dead = List.copyOf(deaths);
      deaths.clear();
    }
    for (StoredRecord record : dead) {
      record.file.markDead(record);
    }
  }

  private void saveUse() throws IOException {
    List<StoredRecord> used = new ArrayList<>();
    synchronized (this) {
      for (SegmentFile file : files) {
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
    return files.stream()
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
        files.stream().mapToInt(file -> file.records.size()).sum(),
        files.stream().mapToLong(SegmentFile::bytes).sum(),
        limit,
        evicted,
        damaged,
        unmapped.bytes());
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
    for (SegmentFile file : files) {
      file.close();
    }
  }
}
