package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Weights of a Llama-architecture model. Read-only, shared by all passes.
 *
 * <p>Query and key rows are in the half-split order of RoPE: dimension {@code i} of a head rotates with {@code i +
 * headSize / 2}. Some GGUF files hold them permuted for the interleaved form; {@link WeightLoader} undoes that, because
 * half-split rotations are contiguous vector operations.
 *
 * @param embedding {@code [vocabulary, hidden]}
 * @param layers one per block
 * @param outputNorm {@code [hidden]}
 * @param output {@code [vocabulary, hidden]}; the embedding itself when they are tied
 */
public record LlamaWeights(
    ModelConfig config,
    PackedMatrix embedding,
    List<Layer> layers,
    float[] outputNorm,
    PackedMatrix output) {

  /**
   * One block.
   *
   * @param attentionNorm {@code [hidden]}
   * @param bias of queries, keys and values (Qwen2), or null
   * @param queryNorm {@code [headSize]} of RMSNorm over each query head (Qwen3), or null
   * @param keyNorm likewise for keys
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
      @Nullable Bias bias,
      float @Nullable [] queryNorm,
      float @Nullable [] keyNorm,
      PackedMatrix query,
      PackedMatrix key,
      PackedMatrix value,
      PackedMatrix attentionOutput,
      float[] feedForwardNorm,
      PackedMatrix gate,
      PackedMatrix up,
      PackedMatrix down) {}

  /** Added to a projected row. */
  public record Bias(float[] query, float[] key, float[] value) {}

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
