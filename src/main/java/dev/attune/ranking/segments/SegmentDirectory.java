package dev.attune.ranking.segments;

import dev.attune.ranking.segments.SegmentFormat.Header;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The files of a {@link SegmentStore} on disk: their names, which number them in the order of their creation, how large
 * new ones are, and those that are deleted but still mapped.
 */
final class SegmentDirectory {

  private static final Logger log = LoggerFactory.getLogger(SegmentDirectory.class);

  private static final String SUFFIX = ".kv";
  private static final Pattern NAME = Pattern.compile("[0-9a-f]{16}\\" + SUFFIX);
  private static final int FILES = 64;
  private static final long SMALLEST_FILE = 64 << 10;
  private static final long LARGEST_FILE = 64 << 20;
  /** Bytes of values for which the directory of a file has an entry. */
  private static final long BYTES_PER_ENTRY = 8 << 10;
  private static final int FEWEST_ENTRIES = 64;

  private final Path path;
  private final long fileSize;
  /** Entries of a file's directory. */
  private final int capacity;
  private final AtomicLong nextSequence = new AtomicLong();
  private final UnmappedFiles unmapped = new UnmappedFiles();

  /** @param limit most bytes on disk, of all files */
  SegmentDirectory(Path path, long limit) {
    this.path = path;
    this.fileSize = Math.clamp(limit / FILES, SMALLEST_FILE, LARGEST_FILE);
    this.capacity = (int) Math.max(FEWEST_ENTRIES, fileSize / BYTES_PER_ENTRY);
  }

  /**
   * What was found.
   *
   * @param files in the order of their creation
   * @param unusable files that were deleted
   */
  record Found(List<SegmentFile> files, int unusable) {}

  /** Opens all files and deletes those that cannot be used. */
  Found open() throws IOException {
    List<Path> paths;
    try (Stream<Path> all = Files.list(path)) {
      paths = all.filter(file -> NAME.matcher(file.getFileName().toString()).matches()).sorted().toList();
    }
    List<SegmentFile> files = new ArrayList<>();
    for (Path each : paths) {
      long sequence = Long.parseUnsignedLong(each.getFileName().toString().substring(0, 16), 16);
      nextSequence.set(sequence + 1);
      SegmentFile file = SegmentFile.open(each, sequence);
      if (file == null) {
        log.info("{} is damaged or of another version; its documents will be read again", each);
        Files.delete(each);
      } else {
        files.add(file);
      }
    }
    return new Found(files, paths.size() - files.size());
  }

  /** Bytes of a new file, unless a value needs more. */
  long fileSize() {
    return fileSize;
  }

  /** Bytes that a file of a space must have to hold a value of a length. */
  long need(String space, long length) {
    return new Header(fileSize, capacity, space).firstValue() + SegmentFormat.aligned(length);
  }

  /** A new file of a space, with room for a value of a length. */
  SegmentFile create(String space, long length) throws IOException {
    long sequence = nextSequence.getAndIncrement();
    Header header = new Header(Math.max(fileSize, need(space, length)), capacity, space);
    return SegmentFile.create(path.resolve("%016x%s".formatted(sequence, SUFFIX)), sequence, header);
  }

  /** Deletes a file; what was handed out of it stays readable. */
  void delete(SegmentFile file) throws IOException {
    file.close();
    Files.deleteIfExists(file.path);
    unmapped.add(file);
  }

  /** Bytes of deleted files that somebody may still read. */
  long unmappedBytes() {
    return unmapped.bytes();
  }

  /** Has the system free what nobody reads any more. */
  void collect() {
    unmapped.collect();
  }
}
