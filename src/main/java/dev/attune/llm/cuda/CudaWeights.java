package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.util.List;

/**
 * Weights on the device, in {@link Numbers}. The weights of each RMSNorm are folded into the matrix that follows it, so
 * that a norm is a factor per token. What is added to the residual (embeddings, attention's output, down) is kept times
 * {@link Numbers#residualScale}. Query and key rows are in the half-split order of RoPE (GGUF files have them
 * interleaved).
 *
 * @param config of the model, its norms' epsilon fit for the residual as it is kept
 * @param embedding {@code [vocabulary][hidden]}
 * @param output {@code [padded vocabulary][hidden]}, the final norm folded in
 * @param rope {@code [context][headSize / 2]} pairs of cosine and sine in fp32
 */
record CudaWeights(ModelConfig config, long embedding, List<Layer> layers, long output, long rope) {

  /** Rows of gate and up alternate in groups of this many, so that a kernel finds both in one tile. */
  static final int GROUP = 8;

  /**
   * One block. Matrices are 0 that are kept in FP8 alone ({@link Fp8Weights}), which those of queries, keys and values
   * never are.
   *
   * @param qkv {@code [(heads + 2 kvHeads) * headSize][hidden]}: queries, keys, values
   * @param attentionOutput {@code [hidden][heads * headSize]}
   * @param gateUp {@code [2 * feedForward][hidden]}
   * @param down {@code [hidden][feedForward]}
   * @param attentionNorm folded into qkv, {@code [hidden]} in fp32
   * @param feedForwardNorm folded into gateUp, likewise
   */
  record Layer(long qkv, long attentionOutput, long gateUp, long down, long attentionNorm, long feedForwardNorm) {}

  /** Rows of {@link #output}: products are in tiles of 16. */
  int paddedVocabulary() {
    return padded(config.vocabulary());
  }

  static int padded(int rows) {
    return (rows + 15) / 16 * 16;
  }

  /** Address of the keys' rows of a layer's {@link Layer#qkv}. */
  long keys(int layer) {
    return layers.get(layer).qkv + 2L * config.heads() * config.headSize() * config.hidden();
  }

  /** Bytes of the matrices on the device. */
  long bytes() {
    long attention = (long) config.heads() * config.headSize();
    long hidden = config.hidden();
    long numbers = 2L * config.vocabulary() * hidden;
    for (Layer layer : layers) {
      numbers += hidden * (attention + 2L * config.kvHeads() * config.headSize());
      numbers += layer.attentionOutput == 0 ? 0 : attention * hidden;
      numbers += layer.gateUp == 0 ? 0 : 2 * hidden * config.feedForward();
      numbers += layer.down == 0 ? 0 : hidden * config.feedForward();
    }
    return 2 * numbers;
  }

  /** The cosines and sines of all positions. */
  static long ropeTable(CudaDevice device, ModelConfig config) {
    double factor = config.ropeScaling().attentionFactor();
    int half = config.headSize() / 2;
    float[] table = new float[config.context() * half * 2];
    for (int i = 0; i < half; i++) {
      double frequency = config.ropeScaling().frequency(config.ropeTheta(), config.headSize(), i);
      for (int position = 0; position < config.context(); position++) {
        table[2 * (position * half + i)] = (float) (StrictMath.cos(position * frequency) * factor);
        table[2 * (position * half + i) + 1] = (float) (StrictMath.sin(position * frequency) * factor);
      }
    }
    return device.uploadNew(table, "rotations");
  }
}
