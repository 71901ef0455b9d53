package dev.attune.llm.cuda;

import java.util.Map;
import java.util.TreeMap;

/** Shares out one stretch of memory, first fit; neighbours that are given back become one again. Not thread-safe. */
final class HostRoom {

  /** No place. */
  static final long NOWHERE = -1;

  /** Pieces begin at multiples of it: copies of whole lines. */
  static final int ALIGNMENT = 256;

  private final long bytes;
  /** Length of each free piece by its offset. */
  private final TreeMap<Long, Long> free = new TreeMap<>();
  private long taken;

  HostRoom(long bytes) {
    this.bytes = bytes / ALIGNMENT * ALIGNMENT;
    if (this.bytes > 0) {
      free.put(0L, this.bytes);
    }
  }

  /** Offset of so many bytes, or {@link #NOWHERE}. */
  long take(long wanted) {
    long length = aligned(wanted);
    for (Map.Entry<Long, Long> piece : free.entrySet()) {
      if (piece.getValue() >= length) {
        long at = piece.getKey();
        long left = piece.getValue() - length;
        free.remove(at);
        if (left > 0) {
          free.put(at + length, left);
        }
        taken += length;
        return at;
      }
    }
    return NOWHERE;
  }

  /** Gives back what {@link #take} gave for so many bytes. */
  void give(long at, long wanted) {
    long from = at;
    long length = aligned(wanted);
    taken -= length;
    Map.Entry<Long, Long> before = free.lowerEntry(at);
    if (before != null && before.getKey() + before.getValue() == at) {
      from = before.getKey();
      length += before.getValue();
    }
    Long after = free.remove(at + aligned(wanted));
    free.put(from, after == null ? length : length + after);
  }

  /** Whether so many bytes would fit if nothing else were there. */
  boolean canHold(long wanted) {
    return aligned(wanted) <= bytes;
  }

  long taken() {
    return taken;
  }

  long bytes() {
    return bytes;
  }

  private static long aligned(long bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }
}
