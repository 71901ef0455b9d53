package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.ranking.DocumentKvStore.Key;
import java.lang.foreign.MemorySegment;
import java.lang.ref.WeakReference;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Segments over what is on disk, one for each entry as long as somebody holds it: a backend that has an entry on a
 * device of its own, copied there or computed there, holds the segment, and so finds it again when the entry is found
 * again. Thread-safe.
 */
final class RestoredSegments {

  /** @param address of the image; a segment keeps its image mapped, so nothing else comes to lie there */
  private record Restored(WeakReference<KvSegment> segment, long address) {}

  private final Map<Key, Restored> all = new ConcurrentHashMap<>();

  /**
   * The segment over an image.
   *
   * @throws IllegalArgumentException as {@link InferenceBackend#restore}
   */
  KvSegment over(Key key, MemorySegment image, InferenceBackend backend) {
    KvSegment[] found = new KvSegment[1];
    all.compute(key, (_, known) -> {
      KvSegment segment = known == null ? null : known.segment.get();
      if (known != null && segment != null && known.address == image.address()) {
        found[0] = segment;
        return known;
      }
      if (segment != null) {
        backend.forget(segment);
      }
      found[0] = backend.restore(image);
      return new Restored(new WeakReference<>(found[0]), image.address());
    });
    return found[0];
  }

  /** What was read is on disk now: a backend that goes on with the segment finds it with the entry. */
  void stored(Key key, KvSegment segment, MemorySegment image, InferenceBackend backend) {
    if (backend.stored(segment, image)) {
      all.compute(key, (_, known) -> {
        KvSegment other = known == null ? null : known.segment.get();
        if (other != null && other != segment) {
          backend.forget(other);
        }
        return new Restored(new WeakReference<>(segment), image.address());
      });
    }
  }

  /**
   * Lets go of segments whose entry is gone or lies elsewhere by now, so that their files can go too.
   *
   * @param place address of the image of an entry, 0 when there is none
   */
  void dropStale(ToLongFunction<Key> place, Function<String, @Nullable InferenceBackend> backends) {
    for (Key key : all.keySet()) {
      all.computeIfPresent(key, (_, known) -> {
        KvSegment segment = known.segment.get();
        if (segment != null && place.applyAsLong(key) == known.address) {
          return known;
        }
        InferenceBackend backend = backends.apply(key.space());
        if (segment != null && backend != null) {
          backend.forget(segment);
        }
        return null;
      });
    }
  }

  int size() {
    return all.size();
  }
}
