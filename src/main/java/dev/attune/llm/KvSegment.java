package dev.attune.llm;

/**
 * Keys and values of consecutive tokens for the first layers of a model; immutable and shared by reference between
 * sequences. Keys are stored after RoPE, so a segment belongs to the positions it was computed at.
 *
 * <p>Made by an {@link InferenceBackend}; only the backend that made it can read it.
 */
public interface KvSegment {

  /** Number of tokens. */
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

  /** Bytes really allocated. */
  long bytes();

  /**
   * Hash of what the segment was computed from: tokens, positions, layers, codec and the context's content. Sums over
   * segments are taken in its order, so that the order of a context does not matter. Not an identity: do not use it
   * as a key.
   */
  long contentId();
}
