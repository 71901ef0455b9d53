package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The layers' matrices in FP8 (E4M3) with a scale for each output, beside those in 16 bits, which adapters are added to
 * and which probes, the keys of the layer after the last and few tokens of small models go on to use. Many rows are
 * multiplied at twice the rate, and few rows need half the bytes.
 */
final class Fp8Weights {

  /** One block; what the matrices are is said in {@link CudaWeights.Layer}. */
  record Layer(Matrix qkv, Matrix attentionOutput, Matrix gateUp, Matrix down) {}

  private static final int THREADS = 256;

  private final CudaDevice device;
  private final Kernels kernels;
  private final List<Layer> layers = new ArrayList<>();
  private long bytes;

  Fp8Weights(CudaDevice device, Kernels kernels, CudaWeights weights) {
    this.device = device;
    this.kernels = kernels;
    ModelConfig config = weights.config();
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int qkv = attention + 2 * config.kvHeads() * config.headSize();
    for (CudaWeights.Layer layer : weights.layers()) {
      layers.add(new Layer(quantised(layer.qkv(), qkv, hidden), quantised(layer.attentionOutput(), hidden, attention),
          quantised(layer.gateUp(), 2 * config.feedForward(), hidden),
          quantised(layer.down(), hidden, config.feedForward())));
    }
    device.synchronize("Quantising weights");
  }

  private Matrix quantised(long matrix, int outputs, int inputs) {
    String what = "weights [%d, %d] in FP8".formatted(outputs, inputs);
    Matrix result = new Matrix(device.allocate((long) outputs * inputs, what), device.allocate(4L * outputs, what));
    bytes += (long) outputs * inputs + 4L * outputs;
    kernels.quantiseRows.launch(outputs, 1, THREADS, matrix, result.address(), result.scales(), inputs);
    return result;
  }

  Layer layer(int index) {
    return layers.get(index);
  }

  /** Bytes on the device, beside the weights in 16 bits. */
  long bytes() {
    return bytes;
  }

  /** Gives the memory back. */
  void free() {
    for (Layer layer : layers) {
      for (Matrix matrix : List.of(layer.qkv, layer.attentionOutput, layer.gateUp, layer.down)) {
        device.free(matrix.address());
        device.free(matrix.scales());
      }
    }
  }
}
