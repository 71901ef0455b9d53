package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;
import java.util.List;

/**
 * Weights of a Llama-architecture model. Read-only, shared by all passes.
 *
 * <p>Query and key rows are in the half-split order of RoPE: dimension {@code i} of a head rotates with {@code i +
 * headSize / 2}. GGUF files hold them permuted for the interleaved form; {@link WeightLoader} undoes that, because
 * half-split rotations are contiguous vector operations.
 *
 * @param embedding {@code [vocabulary, hidden]}
 * @param layers one per block
 * @param outputNorm {@code [hidden]}
 * @param output {@code [vocabulary, hidden]}; the embedding itself when they are tied
 * @param ropeDivisors {@code [headSize / 2]}, each pair's wavelength is multiplied by it; all 1 for most models
 */
public record LlamaWeights(
    ModelConfig config,
    PackedMatrix embedding,
    List<Layer> layers,
    float[] outputNorm,
    PackedMatrix output,
    float[] ropeDivisors) {

  /**
   * One block.
   *
   * @param attentionNorm {@code [hidden]}
   * @param query {@code [heads * headSize, hidden]}
   * @param key {@code [kvHeads * headSize, hidden]}
   * @param value {@code [kvHeads * headSize, hidden]}
   * @param attentionOutput {@code [hidden, heads * headSize]}
   * @param feedForwardNorm {@code [hidden]}
   * @param gate {@code [feedForward, hidden]}
   * @param up {@code [feedForward, hidden]}
   * @param down {@code [hidden, feedForward]}
   */
  public record Layer(
      float[] attentionNorm,
      PackedMatrix query,
      PackedMatrix key,
      PackedMatrix value,
      PackedMatrix attentionOutput,
      float[] feedForwardNorm,
      PackedMatrix gate,
      PackedMatrix up,
      PackedMatrix down) {}

  long bytes() {
    long bytes = embedding.bytes() + (output == embedding ? 0 : output.bytes());
    for (Layer layer : layers) {
      for (PackedMatrix matrix : List.of(layer.query, layer.key, layer.value, layer.attentionOutput, layer.gate,
          layer.up, layer.down)) {
        bytes += matrix.bytes();
      }
    }
    return bytes;
  }
}
