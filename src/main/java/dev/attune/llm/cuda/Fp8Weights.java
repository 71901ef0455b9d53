package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The layers' matrices in FP8 (E4M3) with a scale for each output. Many rows are multiplied at twice the rate, and few
 * rows need half the bytes. What {@link CudaWeights} has of them is for probes, the keys of the layer after the last
 * and, where {@link ProductChain} is not for the model, few tokens.
 *
 * <p>Outputs of SwiGLU are scaled, each by a factor of its own that is part of the scale of its row of {@code up} and
 * that the columns of {@code down} take back, so that none exceeds what E4M3 can be, whatever the token (see {@code
 * elementwise.cu}).
 */
record Fp8Weights(List<Layer> layers) {

  /** One block; what the matrices are is said in {@link CudaWeights.Layer}. */
  record Layer(Matrix qkv, Matrix attentionOutput, Matrix gateUp, Matrix down) {}

  /** Beside all matrices in 16 bits. */
  static Fp8Weights of(CudaDevice device, Kernels kernels, CudaWeights weights) {
    try (Fp8Quantiser quantiser = new Fp8Quantiser(device, kernels, weights.config())) {
      List<Layer> layers = new ArrayList<>();
      weights.layers().forEach(layer -> layers.add(quantiser.layer(layer)));
      return new Fp8Weights(layers);
    }
  }

  Layer layer(int index) {
    return layers.get(index);
  }

  /** Bytes of a model's matrices on the device, scales among them. */
  static long bytes(ModelConfig config) {
    long attention = (long) config.heads() * config.headSize();
    long qkv = attention + 2L * config.kvHeads() * config.headSize();
    long hidden = config.hidden();
    long inner = config.feedForward();
    return config.layers() * (qkv * hidden + hidden * attention + 3 * inner * hidden
        + 4 * (qkv + 2 * hidden + 2 * inner + 4));
  }

  /** Gives the memory back. */
  void free(CudaDevice device) {
    for (Layer layer : layers) {
      for (Matrix matrix : List.of(layer.qkv, layer.attentionOutput, layer.gateUp, layer.down)) {
        device.free(matrix.address());
        device.free(matrix.scales());
        device.free(matrix.largestNorm());
      }
    }
  }
}
