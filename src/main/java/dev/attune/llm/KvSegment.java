package dev.attune.llm;

/**
 * Keys and values of consecutive tokens for the first layers of a model; immutable and shared by reference between
 * sequences. Keys are stored after RoPE, so a segment belongs to the positions it was computed at.
 *
 * <p>What is stored of a token for one KV head of one layer is a <em>slot</em>. A segment that was made by {@link
 * InferenceBackend#retain} may have fewer slots than tokens, and different numbers of them for different heads.
 *
 * <p>Made by an {@link InferenceBackend}; only the backend that made it can read it.
 */
public interface KvSegment {

  /** Number of tokens that it was computed from: the positions that it stands for. */
  int tokens();

  /** Number of layers whose keys are present, counted from layer 0. */
  int layers();

  /**
   * Number of layers whose values are present too: {@link #layers()}, or one less when the pass stopped below the top
   * of the model and so left the keys of the next layer for probing.
   */
  int valueLayers();

  /** Position of the first token. */
  int firstPosition();

  /** Slots of one KV head in one layer, 0 to {@link #tokens()}, or one more with a compensation slot. */
  default int slots(int layer, int kvHead) {
    return tokens();
  }

  /**
   * How many of the first slots of a KV head in one layer have a bias, which is added to logits: they stand for more
   * tokens.
   */
  default int biased(int layer, int kvHead) {
    return 0;
  }

  /** Slots per head, averaged over heads and layers and rounded up: what attention to the segment costs. */
  default int meanSlots() {
    return tokens();
  }

  /** Whether some head no longer has a slot for every token. */
  default boolean reduced() {
    return false;
  }

  /** Bytes of memory really allocated for keys, values, scales and the header that describes them. */
  long bytes();

  /**
   * Hash of what the segment was computed from: tokens, positions, layers, codec, the context's content and which slots
   * were kept. Sums over segments are taken in its order, so that the order of a context does not matter. Not an
   * identity: do not use it as a key.
   */
  long contentId();
}
