package dev.attune.ranking.segments;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * Layout of a segment file, version 1; numbers in the byte order of the machine, as the images in it are.
 *
 * <pre>
 * header, 4096 bytes
 *    0 magic "ATTUNEKV"   8 version   12 CRC-32C of bytes 16..4095
 *   16 size of the file  24 capacity of the directory  28 length of the space  32 the space in UTF-8, zeros
 * directory, capacity × 64 bytes: one entry per record in the order of writing, zeros where there is none yet
 *    0 CRC-32C of bytes 4..59   4 state (1 live, 2 dead)
 *    8 document digest         24 content digest
 *   40 offset of the value     48 length of the value    56 CRC-32C of the value
 *   60 when it was last used, seconds since 1970; not covered by the checksum, as damage to it harms nothing
 * values, each at a multiple of 64, up to the size of the file
 * </pre>
 *
 * <p>The file has its full size from the start and is sparse behind the last value. A value is written before its
 * entry, so an entry that is whole names a value that was handed to the system; only after a power cut may it be
 * missing, which its checksum shows. All entries have the same size, so a damaged one costs one record, and opening a
 * file reads its directory alone. All records of a file belong to one space: when a model or prompt is gone, whole
 * files go.
 */
final class SegmentFormat {

  static final int VERSION = 1;
  static final int HEADER = 4096;
  static final int ENTRY = 64;
  private static final int CHECKED_ENTRY = 60;
  static final int USED_AT = 60;
  private static final int ALIGNMENT = 64;
  private static final long MAGIC =
      ByteBuffer.wrap("ATTUNEKV".getBytes(StandardCharsets.US_ASCII)).order(ByteOrder.nativeOrder()).getLong();
  private static final int SPACE_AT = 32;
  static final int LONGEST_SPACE = HEADER - SPACE_AT;
  private static final int LIVE = 1;
  private static final int DEAD = 2;

  private SegmentFormat() {}

  record Header(long size, int capacity, String space) {

    /** Where values begin. */
    long firstValue() {
      return HEADER + (long) capacity * ENTRY;
    }
  }

  record Entry(
      boolean live, Digest document, Digest content, long offset, long length, int checksum, int lastUsed) {}

  static long aligned(long offset) {
    return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
  }

  static ByteBuffer encode(Header header) {
    byte[] space = header.space.getBytes(StandardCharsets.UTF_8);
    if (space.length > LONGEST_SPACE) {
      throw new IllegalArgumentException("A space of %d bytes is too long".formatted(space.length));
    }
    ByteBuffer buffer = buffer(HEADER);
    buffer.putLong(0, MAGIC).putInt(8, VERSION).putLong(16, header.size).putInt(24, header.capacity);
    buffer.putInt(28, space.length).put(SPACE_AT, space);
    return buffer.putInt(12, checksum(buffer, 16, HEADER));
  }

  /** Returns null when it is damaged, of another version, or of a machine with another byte order. */
  static @Nullable Header decodeHeader(ByteBuffer buffer) {
    if (buffer.limit() < HEADER || buffer.getLong(0) != MAGIC || buffer.getInt(8) != VERSION
        || buffer.getInt(12) != checksum(buffer, 16, HEADER)) {
      return null;
    }
    byte[] space = new byte[Math.clamp(buffer.getInt(28), 0, LONGEST_SPACE)];
    buffer.get(SPACE_AT, space);
    return new Header(buffer.getLong(16), buffer.getInt(24), new String(space, StandardCharsets.UTF_8));
  }

  static ByteBuffer encode(Entry entry) {
    ByteBuffer buffer = buffer(ENTRY);
    buffer.putInt(4, entry.live ? LIVE : DEAD);
    buffer.putLong(8, entry.document.high()).putLong(16, entry.document.low());
    buffer.putLong(24, entry.content.high()).putLong(32, entry.content.low());
    buffer.putLong(40, entry.offset).putLong(48, entry.length).putInt(56, entry.checksum);
    buffer.putInt(USED_AT, entry.lastUsed);
    return buffer.putInt(0, checksum(buffer, 4, CHECKED_ENTRY));
  }

  static boolean isEmpty(ByteBuffer directory, int at) {
    for (int i = at; i < at + ENTRY; i += Long.BYTES) {
      if (directory.getLong(i) != 0) {
        return false;
      }
    }
    return true;
  }

  /** Returns null when the entry at {@code at} is damaged. */
  static @Nullable Entry decodeEntry(ByteBuffer directory, int at) {
    int state = directory.getInt(at + 4);
    if (directory.getInt(at) != checksum(directory, at + 4, at + CHECKED_ENTRY) || state != LIVE && state != DEAD) {
      return null;
    }
    return new Entry(
        state == LIVE,
        new Digest(directory.getLong(at + 8), directory.getLong(at + 16)),
        new Digest(directory.getLong(at + 24), directory.getLong(at + 32)),
        directory.getLong(at + 40),
        directory.getLong(at + 48),
        directory.getInt(at + 56),
        directory.getInt(at + USED_AT));
  }

  static int checksum(MemorySegment value) {
    CRC32C crc = new CRC32C();
    crc.update(value.asByteBuffer());
    return (int) crc.getValue();
  }

  private static int checksum(ByteBuffer buffer, int from, int to) {
    CRC32C crc = new CRC32C();
    crc.update(Arrays.copyOfRange(buffer.array(), from, to), 0, to - from);
    return (int) crc.getValue();
  }
}
