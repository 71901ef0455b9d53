package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Launches attention and merge over what a plan laid out; checks nothing, the plan is built from checked passes. */
final class AttentionLauncher {

  private static final int MERGE_THREADS = 128;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Arena arena = Arena.ofShared();

  AttentionLauncher(CudaDevice device, ModelConfig config) {
    this.device = device;
    this.config = config;
  }

  /** Attention of one layer over one plan; arguments stay the same until the plan's addresses change. */
  final class Launch {
    private final Kernels.Attention attention;
    private final BatchPlan plan;
    private final long q;
    private final long out;
    private final MemorySegment merge;

    Launch(Kernels.Attention attention, BatchPlan plan, long q, long out) {
      this.attention = attention;
      this.plan = plan;
      this.q = q;
      this.out = out;
      merge = new Struct(arena, 64).put(plan.partialOut).put(plan.partialSums).put(plan.sequences).put(plan.merges)
          .put(plan.counts + 4).put(out).put(config.heads()).put(config.kvHeads()).put(attention.tileRows()).put(0)
          .memory();
    }

    /** Who puts the parts of split contexts together. */
    enum Merging {
      /** No context was split. */
      NONE,
      /** The last block of each tile, in decoding tiles only: for few parts. */
      LAST_BLOCK,
      /** A kernel of its own. */
      KERNEL
    }

    void run(int layer, int items, Merging merging) {
      float scale = (float) (1 / Math.sqrt(config.headSize()) / Math.log(2));
      try (Arena scratch = Arena.ofConfined()) {
        MemorySegment arguments = new Struct(scratch, 104).put(q).put(out).put(plan.table).put(plan.sequences)
            .put(plan.items).put(plan.counts).put(plan.partialOut).put(plan.partialSums).put(plan.merges)
            .put(plan.arrived).put(layer).put(config.heads()).put(config.kvHeads()).put(scale)
            .put(merging == Merging.LAST_BLOCK ? 1 : 0).memory();
        int blocks = Math.min(attention.atOnce(), items * config.kvHeads());
        attention.kernel(plan.quantised()).launchEarly(blocks, 1, attention.threads(), arguments);
        if (merging == Merging.KERNEL) {
          attention.merge().launchEarly(4 * device.multiprocessors, 1, MERGE_THREADS, merge);
        }
      }
    }
  }
}
