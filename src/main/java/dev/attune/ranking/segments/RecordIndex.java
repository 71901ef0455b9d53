package dev.attune.ranking.segments;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Which record is where, and which file to give up next. Not thread-safe: guarded by {@link SegmentStore}. */
final class RecordIndex {

  private final Map<String, Map<Digest, StoredRecord>> spaces = new HashMap<>();
  /** In the order of creation, but for files that could not be moved. */
  private final List<SegmentFile> files = new ArrayList<>();
  /** Deaths that are not written down yet. */
  private final Deque<StoredRecord> deaths = new ArrayDeque<>();

  /** Takes in a file that was opened; later files have the newer records. */
  void open(SegmentFile file) {
    files.add(file);
    for (StoredRecord record : List.copyOf(file.records)) {
      replace(record);
    }
    if (file.damaged() > 0 || file.deadBytes() > 0) {
      file.deadSince = System.nanoTime();
    }
  }

  void addFile(SegmentFile file) {
    files.add(file);
  }

  /** Puts a file back that could not be moved. */
  void returnFile(SegmentFile file) {
    files.addFirst(file);
  }

  void removeFile(SegmentFile file) {
    files.remove(file);
  }

  List<SegmentFile> files() {
    return files;
  }

  /** The newest file of a space that has room for a value, if any. */
  @Nullable SegmentFile writable(String space, long length) {
    for (SegmentFile file : files.reversed()) {
      if (file.header.space().equals(space) && file.fits(length)) {
        return file;
      }
    }
    return null;
  }

  /**
   * Takes in a record that was written.
   *
   * @param moved the record that it is a copy of, if it is one
   */
  void written(StoredRecord record, @Nullable StoredRecord moved) {
    record.file.records.add(record);
    record.file.liveBytes += record.bytes();
    if (moved != null && !moved.live) {
      // It died while it was copied.
      die(record);
    } else {
      replace(record);
    }
  }

  private void replace(StoredRecord record) {
    StoredRecord older = records(record.file).put(record.document, record);
    if (older != null) {
      die(older);
    }
  }

  private Map<Digest, StoredRecord> records(SegmentFile file) {
    return spaces.computeIfAbsent(file.header.space(), _ -> new HashMap<>());
  }

  @Nullable StoredRecord find(String space, Digest document, Digest content) {
    Map<Digest, StoredRecord> records = spaces.get(space);
    StoredRecord record = records == null ? null : records.get(document);
    return record != null && record.content.equals(content) ? record : null;
  }

  /** The records of a document in all spaces. */
  List<StoredRecord> of(Digest document) {
    List<StoredRecord> found = new ArrayList<>();
    for (Map<Digest, StoredRecord> records : spaces.values()) {
      StoredRecord record = records.get(document);
      if (record != null) {
        found.add(record);
      }
    }
    return found;
  }

  List<StoredRecord> all() {
    return spaces.values().stream().flatMap(records -> records.values().stream()).toList();
  }

  /** Drops a record whose death is to be written down. */
  void remove(StoredRecord record) {
    records(record.file).remove(record.document, record);
    die(record);
  }

  /** Drops a record whose file is about to be deleted. */
  void giveUp(StoredRecord record) {
    records(record.file).remove(record.document, record);
    record.file.records.remove(record);
    record.live = false;
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

  List<StoredRecord> takeDeaths() {
    List<StoredRecord> taken = List.copyOf(deaths);
    deaths.clear();
    return taken;
  }

  void forgetDeaths(SegmentFile file) {
    deaths.removeIf(record -> record.file == file);
  }

  int documents() {
    return files.stream().mapToInt(file -> file.records.size()).sum();
  }

  long bytes() {
    return files.stream().mapToLong(SegmentFile::bytes).sum();
  }

  long bytes(@Nullable String space) {
    return files.stream().filter(file -> file.header.space().equals(space)).mapToLong(SegmentFile::bytes).sum();
  }

  /** A file of another space than the one in use, the one used longest ago; null when there is none. */
  @Nullable SegmentFile unused(@Nullable String current) {
    return files.stream()
        .filter(file -> current != null && !file.header.space().equals(current))
        .min(Comparator.comparingInt(SegmentFile::lastUsed).thenComparingLong(file -> file.sequence))
        .orElse(null);
  }

  List<StoredRecord> moreRecentlyUsedHalf() {
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

  /** The file with the smallest share of these records; of several, the one used longest ago. */
  SegmentFile coldest(Set<StoredRecord> warm) {
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
}
