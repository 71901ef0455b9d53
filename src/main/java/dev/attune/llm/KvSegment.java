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

  /** Position of the first token. */
  int firstPosition();

  /** Bytes really allocated. */
  long bytes();
}
