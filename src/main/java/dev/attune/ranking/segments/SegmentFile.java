package dev.attune.ranking.segments;

import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

import dev.attune.ranking.segments.SegmentFormat.Entry;
import dev.attune.ranking.segments.SegmentFormat.Header;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One segment file: written through a channel, so that a full disk is an exception and not a signal, and read through a
 * mapping. Only the writing thread calls what touches the channel; {@link #records} and the byte counts belong to the
 * lock of {@link SegmentStore}.
 */
final class SegmentFile {

  private static final long BLOCK = 4096;

  final Path path;
  /** Numbers files in the order of their creation. */
  final long sequence;
  final Header header;
  /**
   * Of the whole file. Its arena is automatic: the pages are unmapped once neither this object nor any slice that a
   * caller still uses is reachable, so a file can be deleted under its readers.
   */
  final MemorySegment mapping;
  /** Live records. */
  final List<StoredRecord> records = new ArrayList<>();
  /** Bytes of live values, each rounded up to the alignment. */
  long liveBytes;
  /** Nano time at which the first record died since the file was opened; 0 while all its bytes are live. */
  long deadSince;

  private final FileChannel channel;
  private boolean appendable;
  private int slots;
  private long end;
  private long damaged;

  private SegmentFile(Path path, long sequence, Header header, FileChannel channel, boolean appendable)
      throws IOException {
    this.path = path;
    this.sequence = sequence;
    this.header = header;
    this.channel = channel;
    this.appendable = appendable;
    this.mapping = channel.map(MapMode.READ_ONLY, 0, Math.min(channel.size(), header.size()), Arena.ofAuto());
    this.end = header.firstValue();
  }

  static SegmentFile create(Path path, long sequence, Header header) throws IOException {
    Files.createFile(path);
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(header.size());
    }
    FileChannel channel = FileChannel.open(path, READ, WRITE);
    try {
      write(channel, SegmentFormat.encode(header), 0);
      return new SegmentFile(path, sequence, header, channel, true);
    } catch (IOException | RuntimeException e) {
      channel.close();
      Files.deleteIfExists(path);
      throw e;
    }
  }

  /** Reads the directory of an existing file; null when its header cannot be used. */
  static @Nullable SegmentFile open(Path path, long sequence) throws IOException {
    FileChannel channel = FileChannel.open(path, READ, WRITE);
    SegmentFile file = null;
    try {
      Header header = SegmentFormat.decodeHeader(read(channel, 0, SegmentFormat.HEADER));
      if (header != null) {
        boolean whole = channel.size() == header.size();
        file = new SegmentFile(path, sequence, header, channel, whole);
        file.readDirectory();
      }
      return file;
    } finally {
      if (file == null) {
        channel.close();
      }
    }
  }

  private void readDirectory() throws IOException {
    ByteBuffer directory = read(channel, SegmentFormat.HEADER, header.capacity() * SegmentFormat.ENTRY);
    for (int slot = 0; slot < header.capacity(); slot++) {
      int at = slot * SegmentFormat.ENTRY;
      if (SegmentFormat.isEmpty(directory, at)) {
        continue;
      }
      slots = slot + 1;
      Entry entry = SegmentFormat.decodeEntry(directory, at);
      if (entry == null || entry.offset() < header.firstValue() || entry.length() < 1
          || entry.offset() + entry.length() > mapping.byteSize()) {
        damaged++;
        // What it named may lie behind the values that are known: nothing more is written here.
        appendable = false;
        continue;
      }
      end = Math.max(end, SegmentFormat.aligned(entry.offset() + entry.length()));
      if (entry.live()) {
        StoredRecord record = new StoredRecord(this, slot, entry);
        records.add(record);
        liveBytes += record.bytes();
      }
    }
  }

  /** Records that could not be read when the file was opened. */
  long damaged() {
    return damaged;
  }

  boolean fits(long length) {
    return appendable && slots < header.capacity() && end + length <= header.size();
  }

  /** Bytes of disk in use, in whole blocks, the directory included. */
  long bytes() {
    return Math.min((end + BLOCK - 1) / BLOCK * BLOCK, mapping.byteSize());
  }

  /** When its most recently used record was used, seconds since 1970. */
  int lastUsed() {
    return records.stream().mapToInt(record -> record.lastUsed).max().orElse(0);
  }

  /** Bytes that copying the live records elsewhere would give back. */
  long deadBytes() {
    return end - header.firstValue() - liveBytes;
  }

  /** Writes a record behind the others. It is not among {@link #records} yet. */
  StoredRecord append(Digest document, Digest content, MemorySegment value, int checksum, int lastUsed)
      throws IOException {
    long offset = end;
    write(channel, value.asByteBuffer(), offset);
    Entry entry = new Entry(true, document, content, offset, value.byteSize(), checksum, lastUsed);
    write(channel, SegmentFormat.encode(entry), position(slots));
    end = SegmentFormat.aligned(offset + value.byteSize());
    return new StoredRecord(this, slots++, entry);
  }

  void markDead(StoredRecord record) throws IOException {
    Entry entry = new Entry(false, record.document, record.content, record.offset, record.length, record.checksum,
        record.lastUsed);
    write(channel, SegmentFormat.encode(entry), position(record.slot));
  }

  void saveLastUsed(StoredRecord record) throws IOException {
    ByteBuffer number = SegmentFormat.buffer(Integer.BYTES).putInt(0, record.lastUsed);
    write(channel, number, position(record.slot) + SegmentFormat.USED_AT);
  }

  void close() throws IOException {
    channel.close();
  }

  private static long position(int slot) {
    return SegmentFormat.HEADER + (long) slot * SegmentFormat.ENTRY;
  }

  private static void write(FileChannel channel, ByteBuffer bytes, long position) throws IOException {
    while (bytes.hasRemaining()) {
      position += channel.write(bytes, position);
    }
  }

  /** Bytes past the end of the file read as zeros. */
  private static ByteBuffer read(FileChannel channel, long position, int length) throws IOException {
    ByteBuffer bytes = SegmentFormat.buffer(length);
    while (bytes.hasRemaining() && channel.read(bytes, position + bytes.position()) >= 0) {}
    return bytes.clear();
  }
}
