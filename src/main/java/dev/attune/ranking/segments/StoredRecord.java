package dev.attune.ranking.segments;

import dev.attune.ranking.segments.SegmentFormat.Entry;
import java.lang.foreign.MemorySegment;

/** Where one value lies. What changes is guarded by the lock of {@link SegmentStore}, unless volatile. */
final class StoredRecord {

  final SegmentFile file;
  final int slot;
  final Digest document;
  final Digest content;
  final long offset;
  final long length;
  final int checksum;
  /** Seconds since 1970. */
  int lastUsed;
  /** {@link #lastUsed} as the file has it. */
  int savedLastUsed;
  /** Whether an index entry leads here. */
  boolean live = true;
  /** The last sweep that found the document in use, or the sweep that ran when this was written. */
  int sweep;
  private volatile boolean verified;

  StoredRecord(SegmentFile file, int slot, Entry entry) {
    this.file = file;
    this.slot = slot;
    this.document = entry.document();
    this.content = entry.content();
    this.offset = entry.offset();
    this.length = entry.length();
    this.checksum = entry.checksum();
    this.lastUsed = entry.lastUsed();
    this.savedLastUsed = entry.lastUsed();
  }

  /** Bytes that the value takes on disk. */
  long bytes() {
    return SegmentFormat.aligned(length);
  }

  MemorySegment value() {
    return file.mapping.asSlice(offset, length);
  }

  /**
   * Whether the value is what was written. Looked at once, on first use: its pages are about to be read anyway, while
   * checking everything at the start would read the whole store.
   */
  boolean intact() {
    if (!verified) {
      verified = SegmentFormat.checksum(value()) == checksum;
    }
    return verified;
  }
}
