package dev.attune.ranking.segments;

import java.lang.foreign.MemorySegment;
import java.lang.ref.WeakReference;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Deleted files whose pages may still be mapped. The system frees their blocks when the last mapping is gone, which is
 * when the collector finds it unreachable. Where little is allocated that can take hours, so after a minute the
 * collector is asked to look.
 */
final class UnmappedFiles {

  private static final Duration PATIENCE = Duration.ofMinutes(1);

  private record Deleted(WeakReference<MemorySegment.Scope> mapping, long bytes, long nanos) {}

  private final List<Deleted> deleted = new ArrayList<>();
  /** When something was deleted that the collector has not been asked for yet; 0 for nothing. */
  private long unasked;

  synchronized void add(SegmentFile file) {
    long now = System.nanoTime();
    deleted.add(new Deleted(new WeakReference<>(file.mapping.scope()), file.bytes(), now));
    unasked = unasked == 0 ? now : unasked;
  }

  synchronized long bytes() {
    deleted.removeIf(file -> file.mapping.refersTo(null));
    return deleted.stream().mapToLong(Deleted::bytes).sum();
  }

  /** Asks once for what was deleted; what is in use then goes with a later collection. */
  void collect() {
    synchronized (this) {
      if (bytes() == 0) {
        unasked = 0;
      }
      if (unasked == 0 || System.nanoTime() - unasked < PATIENCE.toNanos()) {
        return;
      }
      unasked = 0;
    }
    System.gc();
  }
}
