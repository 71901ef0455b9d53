package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Launches attention and merge over what a plan laid out; checks nothing, the plan is built from checked passes. */
final class AttentionLauncher {

  private static final int MERGE_THREADS = 128;
  /**
   * Parts of a decoding tile that its last warp puts together faster than another kernel starts. What a sequence alone
   * decides, so that it decodes the same in a batch.
   */
  private static final int FEW_PARTS = 16;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final Arena arena = Arena.ofShared();

  AttentionLauncher(CudaDevice device, ModelConfig config, Kernels kernels) {
    this.device = device;
    this.config = config;
    this.kernels = kernels;
  }

  /** Attention of one layer over one plan; arguments stay the same until the plan's addresses change. */
  final class Launch {
    private final Kernels.Attention attention;
    private final BatchPlan plan;
    private final long q;
    private final long out;
    private final int few;
    /** Made when it is needed: it stays as long as the launcher. */
    private @Nullable MemorySegment merge;

    Launch(Kernels.Attention attention, BatchPlan plan, long q, long out) {
      this.attention = attention;
      this.plan = plan;
      this.q = q;
      this.out = out;
      few = attention.tileRows() == kernels.decodeAttention.tileRows() ? FEW_PARTS : 0;
    }

    /** Whether there are tiles with more parts than attention itself puts together. */
    boolean merges() {
      return plan.longestMerge() > few;
    }

    /** Arguments for putting parts together: {@code MergeArgs}. */
    MemorySegment mergeArguments() {
      MemorySegment made = merge;
      if (made == null) {
        made = new Struct(arena, 64).put(plan.partialOut).put(plan.partialSums).put(plan.sequences).put(plan.merges)
            .put(plan.counts + 4).put(out).put(config.heads()).put(config.kvHeads()).put(attention.tileRows()).put(few)
            .memory();
        merge = made;
      }
      return made;
    }

    /** Arguments of attention in a layer: {@code AttentionArgs}. */
    Struct arguments(Struct to, int layer) {
      float scale = (float) (1 / Math.sqrt(config.headSize()) / Math.log(2));
      return to.put(q).put(out).put(plan.table).put(plan.sequences).put(plan.items).put(plan.counts)
          .put(plan.partialOut).put(plan.partialSums).put(plan.merges).put(plan.arrived).put(layer).put(config.heads())
          .put(config.kvHeads()).put(scale).put(few);
    }

    /**
     * Attention of one layer.
     *
     * @param items at most; captured graphs serve any number
     * @param merging whether to put parts together by a kernel of its own
     */
    void run(int layer, int items, boolean merging) {
      try (Arena scratch = Arena.ofConfined()) {
        MemorySegment arguments = arguments(new Struct(scratch, 104), layer).memory();
        int blocks = Math.min(attention.atOnce(), items * config.kvHeads());
        attention.kernel(plan.quantised()).launchEarly(blocks, 1, attention.threads(), arguments);
        if (merging) {
          attention.merge().launchEarly(4 * device.multiprocessors, 1, MERGE_THREADS, mergeArguments());
        }
      }
    }
  }
}
