package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Work;
import dev.attune.llm.KvSegment;
import dev.attune.llm.ModelConfig;
import java.util.concurrent.atomic.LongAdder;

/** Counts the operations of passes from their shapes; padding of tiles does not count. */
final class WorkCounters {

  private final ModelConfig config;
  private final LongAdder projection = new LongAdder();
  private final LongAdder attention = new LongAdder();
  private final LongAdder cacheBytes = new LongAdder();
  private final LongAdder tokens = new LongAdder();

  WorkCounters(ModelConfig config) {
    this.config = config;
  }

  void add(Pass pass) {
    long n = pass.tokens().length;
    long hidden = config.hidden();
    long queries = (long) config.heads() * config.headSize();
    long keys = (long) config.kvHeads() * config.headSize();
    long layer = hidden * (queries + 2 * keys) + queries * hidden + 3 * hidden * config.feedForward();
    long context = 0;
    long read = 0;
    for (KvSegment one : pass.context()) {
      CudaKvSegment segment = (CudaKvSegment) one;
      if (segment.ragged()) {
        for (int i = 0; i < pass.layers(); i++) {
          context += slots(segment, i);
          read += segment.bytesOf(i);
        }
      } else {
        context += (long) pass.layers() * config.kvHeads() * segment.slots();
        read += pass.layers() * segment.bytesOf(0);
      }
    }
    long flops = 2 * n * layer * pass.layers();
    // Visible pairs of a token and a slot, over all KV heads.
    long pairs = n * context + n * (n + 1) / 2 * config.kvHeads() * pass.layers();
    long attended = 4 * pairs * queries / config.kvHeads();
    if (pass.keepKv() && pass.layers() < config.layers()) {
      flops += 2 * n * hidden * keys;
    }
    if (pass.probe() != null) {
      long rows = pass.probe().rows().length;
      long scored = 0;
      for (int i : pass.probe().scored()) {
        CudaKvSegment segment = (CudaKvSegment) pass.context().get(i);
        scored += slots(segment, pass.layers());
        read += segment.keyBytesOf(pass.layers());
      }
      flops += 2 * rows * hidden * queries;
      attended += 2 * rows * scored * queries / config.kvHeads();
    }
    if (pass.logits() != Logits.NONE) {
      flops += 2 * (pass.logits() == Logits.LAST ? 1 : n) * hidden * config.vocabulary();
    }
    projection.add(flops);
    attention.add(attended);
    cacheBytes.add(read);
    tokens.add(pass.layers() > 0 ? n : 0);
  }

  Work work() {
    return new Work(projection.sum(), attention.sum(), cacheBytes.sum(), tokens.sum());
  }

  /** Slots of all heads of a layer. */
  private static long slots(CudaKvSegment segment, int layer) {
    long slots = 0;
    for (int head = 0; head < segment.shape.kvHeads(); head++) {
      slots += segment.slots(layer, head);
    }
    return slots;
  }
}
