package dev.attune.llm.kv;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * The keys and values of one sequence, kept as a {@link Retention} says: segments that left the window, reduced to what
 * their heads keep of them, and newer ones that are whole. Segments are never changed, so forks and prefixes share
 * them; what one sequence drops or adds is its own.
 *
 * <p>Nothing is dropped before {@link #endPrompt}: a prompt is read with full attention and compressed afterwards,
 * without knowing what will be asked. Then the window slides in steps of {@value #STEP} tokens. Not thread-safe.
 */
public final class KvCache {

  /** Tokens by which the window slides. */
  private static final int STEP = 64;
  /** So many segments of one token are put together: many small ones slow attention down. */
  private static final int MERGE = 16;

  private final InferenceBackend backend;
  private final Retention retention;
  /** {@code [layer][kvHead]}, those that keep everything; empty unless the retention is razor. */
  private final boolean[][] retrievalHeads;
  private final List<KvSegment> aged = new ArrayList<>();
  private final List<KvSegment> recent = new ArrayList<>();
  private boolean decoding;

  private KvCache(InferenceBackend backend, Retention retention, boolean[][] retrievalHeads) {
    this.backend = backend;
    this.retention = retention;
    this.retrievalHeads = retrievalHeads;
  }

  /**
   * A cache by the backend's own policy that begins with a prefix, which may have been compressed before.
   *
   * @throws IllegalStateException when the policy needs a calibration that the model lacks
   */
  public static KvCache of(LanguageModel model, List<KvSegment> prefix) {
    return of(model, KvPolicy.parse(model.backend().kvPolicy()).retention(), prefix);
  }

  /** A cache by another retention than the backend's own. */
  public static KvCache of(LanguageModel model, Retention retention, List<KvSegment> prefix) {
    boolean[][] heads = retention instanceof Retention.Razor razor
        ? HeadScores.of(model.config()).retrievalHeads(razor.retrieval())
        : new boolean[0][];
    return of(model.backend(), retention, heads, prefix);
  }

  /**
   * A cache whose retrieval heads are given.
   *
   * @param retrievalHeads {@code [layer][kvHead]}, those that razor keeps whole
   */
  public static KvCache of(
      InferenceBackend backend, Retention retention, boolean[][] retrievalHeads, List<KvSegment> prefix) {
    KvCache cache = new KvCache(backend, retention, retrievalHeads);
    int reduced = prefix.size();
    while (reduced > 0 && !prefix.get(reduced - 1).reduced()) {
      reduced--;
    }
    cache.aged.addAll(prefix.subList(0, reduced));
    cache.recent.addAll(prefix.subList(reduced, prefix.size()));
    return cache;
  }

  /** An independent continuation that shares everything so far. */
  public KvCache fork() {
    KvCache fork = new KvCache(backend, retention, retrievalHeads);
    fork.aged.addAll(aged);
    fork.recent.addAll(recent);
    fork.decoding = decoding;
    return fork;
  }

  /** What the next pass attends to. */
  public List<KvSegment> segments() {
    List<KvSegment> all = new ArrayList<>(aged);
    all.addAll(recent);
    return all;
  }

  /** Position of the next token. */
  public int nextPosition() {
    return segments().stream().mapToInt(segment -> segment.firstPosition() + segment.tokens()).max().orElse(0);
  }

  /** Adds tokens that were run over {@link #segments}. */
  public void append(KvSegment segment) {
    recent.add(segment);
    int single = 0;
    while (single < recent.size() && recent.get(recent.size() - 1 - single).tokens() == 1) {
      single++;
    }
    if (single >= MERGE) {
      List<KvSegment> tail = recent.subList(recent.size() - single, recent.size());
      KvSegment merged = backend.concat(tail);
      tail.clear();
      recent.add(merged);
    }
    if (decoding) {
      slide();
    }
  }

  /** Compresses the prompt; from now on the window slides. */
  public void endPrompt() {
    decoding = true;
    slide();
  }

  private void slide() {
    int excess = recent.stream().mapToInt(KvSegment::tokens).sum() - window();
    if (excess < STEP) {
      return;
    }
    List<KvSegment> leaving = new ArrayList<>();
    while (excess > 0) {
      KvSegment oldest = recent.removeFirst();
      if (oldest.tokens() <= excess) {
        leaving.add(oldest);
      } else {
        recent.addFirst(backend.slice(oldest, excess, oldest.tokens()));
        leaving.add(backend.slice(oldest, 0, excess));
      }
      excess -= oldest.tokens();
    }
    age(leaving);
  }

  private int window() {
    return switch (retention) {
      case Retention.Full() -> Integer.MAX_VALUE;
      case Retention.Streaming(int sink, int window) -> window;
      // Nothing would be dropped.
      case Retention.Razor razor -> razor.retrieval() == 1 ? Integer.MAX_VALUE : razor.window();
    };
  }

  private void age(List<KvSegment> leaving) {
    boolean razor = retention instanceof Retention.Razor;
    int sink = !aged.isEmpty() ? 0 : switch (retention) {
      case Retention.Full() -> 0;
      case Retention.Streaming(int s, int window) -> s;
      case Retention.Razor all -> all.sink();
    };
    if (!razor && sink == 0) {
      return;
    }
    aged.add(backend.retain(leaving, new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        boolean all = razor && retrievalHeads[layer][kvHead];
        return IntStream.range(0, all ? available : Math.min(sink, available)).toArray();
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return retention instanceof Retention.Razor r && r.compensated() && !retrievalHeads[layer][kvHead];
      }
    }));
  }

  /** Bytes really allocated for this sequence, what it shares included. */
  public long bytes() {
    return bytes(List.of(this));
  }

  /** Bytes really allocated for several sequences; what they share counts once. */
  public static long bytes(Collection<KvCache> caches) {
    Set<KvSegment> segments = Collections.newSetFromMap(new IdentityHashMap<>());
    caches.forEach(cache -> segments.addAll(cache.segments()));
    return segments.stream().mapToLong(KvSegment::bytes).sum();
  }
}
