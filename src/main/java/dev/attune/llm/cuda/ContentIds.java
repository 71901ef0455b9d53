package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.KvSegment;
import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import java.util.Comparator;
import java.util.List;

/** Content hashes of segments (each step is splitmix64's mixer); see {@link KvSegment#contentId}. */
final class ContentIds {

  private long state;

  private ContentIds(long start) {
    state = mix(start);
  }

  /** Of what a pass keeps in a codec. */
  static long of(Pass pass, KvCodec codec) {
    ContentIds hash = new ContentIds(pass.layers()).add(codec.ordinal()).add(pass.firstPosition());
    for (int token : pass.tokens()) {
      hash.add(token);
    }
    inOrder(pass.context()).forEach(segment -> hash.add(segment.contentId()));
    return hash.state;
  }

  /** Of slots of segments, counted through them in order, in a codec. */
  static long of(List<? extends KvSegment> parts, KvCodec codec, int[] kept) {
    ContentIds hash = new ContentIds(parts.size()).add(codec.ordinal()).add(kept.length);
    parts.forEach(segment -> hash.add(segment.contentId()));
    for (int slot : kept) {
      hash.add(slot);
    }
    return hash.state;
  }

  /** Of slots that heads keep of segments, in a codec. */
  static long of(List<? extends KvSegment> parts, KvCodec codec, KeptSlots kept) {
    ContentIds hash = new ContentIds(parts.size()).add(codec.ordinal()).add(-1);
    parts.forEach(segment -> hash.add(segment.contentId()));
    for (KeptSlots.Head head : kept.heads()) {
      hash.add(head.slots().length).add(head.dropped().length);
      for (int slot : head.slots()) {
        hash.add(slot);
      }
    }
    return hash.state;
  }

  /** A context in the order in which it is summed. */
  static List<CudaKvSegment> inOrder(List<KvSegment> context) {
    return context.stream().map(CudaKvSegment.class::cast).sorted(Comparator.comparingLong(CudaKvSegment::contentId))
        .toList();
  }

  private ContentIds add(long number) {
    state = mix(state * 31 + number + 0x9e3779b97f4a7c15L);
    return this;
  }

  private static long mix(long z) {
    z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
    z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
    return z ^ z >>> 31;
  }
}
