package dev.attune.llm;

import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.lora.LoraAdapter;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Runs a transformer. One method serves prefill, block-sparse prefill, attention probing and decoding: every pass runs
 * its tokens causally over a context of segments that others computed.
 *
 * <p>Deterministic: the same pass gives the same bits, whatever else is in the batch. Thread-safe.
 */
public interface InferenceBackend {

  /** Short name for answers and metrics, for example {@code cpu}. */
  String name();

  /** How keys and values are kept, for example {@code full+fp16}. */
  default String kvPolicy() {
    return "full";
  }

  /**
   * Runs passes, in as few and as large matrix products as possible. Permuting a context permutes the probed masses and
   * changes no bit of anything else. An interrupt ends the wait with a {@link
   * java.util.concurrent.CancellationException}, and the work within a layer.
   *
   * @throws IllegalArgumentException when a token, position or layer is out of range; the message names it
   */
  List<PassResult> run(List<Pass> passes);

  /**
   * One segment with the tokens of several, in their order; positions must follow each other and layers be the same.
   *
   * @throws IllegalArgumentException when they do not
   */
  KvSegment concat(List<KvSegment> segments);

  /**
   * One segment with chosen slots of several segments that follow each other; the sources stay as they are. What is
   * kept keeps its keys, and so its positions.
   *
   * @throws IllegalArgumentException when the segments do not follow each other, differ in layers, or a slot is out of
   *     range
   * @throws UnsupportedOperationException when the backend cannot keep heads of different length
   */
  default KvSegment retain(List<KvSegment> segments, Retained retained) {
    throw new UnsupportedOperationException("Backend " + name() + " keeps all slots of a segment");
  }

  /**
   * The segment in another codec; itself when it is in that one already.
   *
   * @throws UnsupportedOperationException when the backend has one codec only
   */
  default KvSegment recode(KvSegment segment, KvCodec codec) {
    throw new UnsupportedOperationException("Backend " + name() + " does not change the codec of segments");
  }

  /**
   * A segment of consecutive tokens of another, at their positions.
   *
   * @param from first token
   * @param to token after the last
   * @throws IllegalArgumentException when the range is empty or out of range, or the segment is reduced
   * @throws UnsupportedOperationException when the backend cannot divide segments
   */
  default KvSegment slice(KvSegment segment, int from, int to) {
    throw new UnsupportedOperationException("Backend " + name() + " does not divide segments");
  }

  /**
   * A segment with some of its tokens, the same ones for all heads and layers. Attention then runs over these alone.
   *
   * @param tokens ascending indices of tokens to keep, at least one
   * @throws IllegalArgumentException when an index is out of range or the segment is reduced already
   */
  default KvSegment select(KvSegment segment, int[] tokens) {
    if (segment.reduced() || tokens.length == 0) {
      throw new IllegalArgumentException(tokens.length == 0
          ? "A segment keeps at least one token"
          : "Tokens can only be chosen from a segment that has all of them");
    }
    return retain(List.of(segment), (layer, kvHead, available) -> tokens);
  }

  /**
   * The segment as bytes, without copying: a self-describing image for {@link #restore}. Valid while the segment is
   * reachable, read-only.
   */
  MemorySegment image(KvSegment segment);

  /**
   * A segment over an image made by {@link #image} with the same model and backend, without copying: {@code image} (a
   * mapped file, say) must stay valid and unchanged as long as the segment is used. The caller checks that model and
   * content are the wanted ones; damage of the numbers is not noticed here.
   *
   * @throws IllegalArgumentException when the image is not one of this backend and model shape, or is cut off
   */
  KvSegment restore(MemorySegment image);

  /**
   * Says that the image of a segment is stored, in a mapped file, say, under the conditions of {@link #restore}. A
   * backend with memory of its own goes on with the segment as if it had restored it, so that its numbers need not be
   * copied again.
   *
   * @return false where the segment goes on as it is, and {@link #restore} makes one that takes less memory
   * @throws IllegalArgumentException when the image is not the segment's
   */
  default boolean stored(KvSegment segment, MemorySegment image) {
    return false;
  }

  /**
   * Says that a restored segment will not be asked for again, its image is out of date, say: what the backend keeps of
   * it for the next call goes once nobody holds the segment. Nothing to do for backends that use images where they lie.
   */
  default void forget(KvSegment segment) {}

  /** Bytes of segments that the backend holds in memory of its own; 0 where segments are in memory of the service. */
  default long ownMemory() {
    return 0;
  }

  /** Calls of {@link #run} that are worth having under way at the same time; the others had better wait. */
  default int callsAtOnce() {
    return 1;
  }

  /**
   * The same model with a low-rank adapter. Base weights and threads are shared, segments are not exchangeable in
   * meaning: keep those of one adapter apart from others by {@link LanguageModel#fingerprint}.
   *
   * @param adapter read for the shape of this model
   */
  InferenceBackend with(LoraAdapter adapter);

  /**
   * Runs tokens as one causal sequence from position 0 through all layers and shows the attention of some of them: for
   * calibration and analysis, not for speed.
   *
   * @param rows indices of the tokens whose attention is wanted
   * @throws IllegalArgumentException when a token, a row or the length is out of range
   * @throws UnsupportedOperationException when the backend cannot show it
   */
  default void inspect(int[] tokens, int[] rows, AttentionVisitor visitor) {
    throw new UnsupportedOperationException("Backend " + name() + " does not show attention");
  }

  /** Whether a {@link Probe} may ask for each slot. */
  default boolean probesSlots() {
    return false;
  }

  /** Work done since the start, without that of backends made by {@link #with}; for reports. */
  Work work();

  /**
   * One forward pass of {@code n} tokens.
   *
   * @param tokens ids, at least one
   * @param firstPosition RoPE position of the first token; the others follow
   * @param context segments that every token sees in full, in any order; positions are their own
   * @param layers how many layers to run in full, 0 to the model's number
   * @param keepKv whether to return the keys and values of the tokens for the layers run. When {@code layers} is below
   *     the model's number, the segment also holds the keys (not the values) of layer {@code layers}, so that it can be
   *     probed there: {@link KvSegment#layers()} is then {@code layers + 1}
   * @param logits for which tokens to compute next-token logits; needs all layers
   * @param probe attention to measure at layer {@code layers} (only Q and K of that layer are projected), or null;
   *     scored segments must hold the keys of that layer
   */
  record Pass(
      int[] tokens,
      int firstPosition,
      List<KvSegment> context,
      int layers,
      boolean keepKv,
      Logits logits,
      @Nullable Probe probe) {

    public Pass {
      context = List.copyOf(context);
    }
  }

  /** For which tokens logits are wanted. */
  enum Logits {
    NONE,
    LAST,
    ALL
  }

  /** Which slots of which head {@link #retain} keeps. */
  @FunctionalInterface
  interface Retained {

    /**
     * Slots to keep of one head.
     *
     * @param available slots of this head in all segments; they are counted through the segments in order
     * @return ascending, each below {@code available}; may be empty
     */
    int[] slots(int layer, int kvHead, int available);

    /**
     * Whether one more slot stands for those dropped: the mean of their keys and of their values, with the logarithm of
     * their number added to its logit (the compensation token of RazorAttention, arXiv 2407.15891, §3.2). A dropped
     * slot that itself stands for n tokens counts as n.
     */
    default boolean compensated(int layer, int kvHead) {
      return false;
    }
  }

  /**
   * Attention to measure: the softmax, over the tokens of the scored segments only, of the scaled query-key logits of
   * some rows, averaged over rows; summed per segment and averaged over heads unless they are wanted apart.
   *
   * @param rows indices of tokens of this pass whose queries are used
   * @param scored indices into the pass's context
   * @param bySlot whether each query head and each slot of the scored segments are to be told apart, where {@link
   *     #probesSlots}; the segments must have as many slots in each head
   */
  record Probe(int[] rows, int[] scored, boolean bySlot) {

    /** Of whole segments. */
    public Probe(int[] rows, int[] scored) {
      this(rows, scored, false);
    }
  }

  /**
   * What one pass gave.
   *
   * @param kv null unless asked for
   * @param logits {@code [1 or n][vocabulary]}, empty unless asked for
   * @param attention one mass per scored segment, summing to 1; by slot, {@code [head * slots + slot]}, the
   *     scored segments one after the other and each head's summing to 1; empty unless asked for
   */
  record PassResult(@Nullable KvSegment kv, float[][] logits, float[] attention) {}

  /**
   * Counters of work.
   *
   * @param projectionFlops floating point operations of matrix products with weights, two per multiply-add
   * @param attentionFlops floating point operations of the two products of attention (and the one of a probe), over
   *     visible pairs of token and slot only
   * @param cacheBytes bytes of stored keys and values that passes attended to, scales included, each counted once for
   *     every pass and layer
   * @param tokens tokens that went through at least one layer
   */
  record Work(long projectionFlops, long attentionFlops, long cacheBytes, long tokens) {}
}
