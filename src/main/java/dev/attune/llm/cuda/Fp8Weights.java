package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import java.util.ArrayList;
import java.util.List;

/**
 * The layers' matrices in FP8 (E4M3) with a scale for each output, beside those in 16 bits, which adapters are added to
 * and which probes, the keys of the layer after the last and few tokens of small models go on to use. Many rows are
 * multiplied at twice the rate, and few rows need half the bytes.
 *
 * <p>Outputs of SwiGLU are scaled, each by a factor of its own that is part of the scale of its row of {@code up} and
 * that the columns of {@code down} take back, so that none exceeds what E4M3 can be, whatever the token (see {@code
 * elementwise.cu}).
 */
final class Fp8Weights {

  /** One block; what the matrices are is said in {@link CudaWeights.Layer}. */
  record Layer(Matrix qkv, Matrix attentionOutput, Matrix gateUp, Matrix down) {}

  private static final int THREADS = 256;
  private static final int WARPS = THREADS / 32;

  private final CudaDevice device;
  private final Kernels kernels;
  private final List<Layer> layers = new ArrayList<>();
  /** Of the rows of the matrix that was quantised last. */
  private final long norms;
  private long bytes;

  Fp8Weights(CudaDevice device, Kernels kernels, CudaWeights weights) {
    this.device = device;
    this.kernels = kernels;
    ModelConfig config = weights.config();
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int qkv = attention + 2 * config.kvHeads() * config.headSize();
    int inner = config.feedForward();
    norms = device.allocate(8L * Math.max(qkv, Math.max(hidden, 2 * inner)), "norms of weights");
    long factors = device.allocate(4L * inner, "factors of SwiGLU");
    for (CudaWeights.Layer layer : weights.layers()) {
      Matrix first = quantised(layer.qkv(), 0, qkv, hidden);
      Matrix output = quantised(layer.attentionOutput(), 0, hidden, attention);
      Matrix gateUp = quantised(layer.gateUp(), 0, 2 * inner, hidden);
      kernels.boundSwiglu.launch((inner + WARPS - 1) / WARPS, 1, THREADS, gateUp.address(), gateUp.scales(), norms,
          hidden, inner, factors);
      layers.add(new Layer(first, output, gateUp, quantised(layer.down(), factors, hidden, inner)));
    }
    device.synchronize("Quantising weights");
    device.free(factors);
    device.free(norms);
  }

  /** {@code factors} of the columns, or 0. Leaves the norms of the rows. */
  private Matrix quantised(long matrix, long factors, int outputs, int inputs) {
    String what = "weights [%d, %d] in FP8".formatted(outputs, inputs);
    Matrix result = new Matrix(device.allocate((long) outputs * inputs, what), device.allocate(4L * outputs, what),
        device.allocate(4, what));
    bytes += (long) outputs * inputs + 4L * outputs + 4;
    kernels.quantiseRows.launch(
        outputs, 1, THREADS, matrix, factors, result.address(), result.scales(), norms, 0L, inputs);
    kernels.largestNorm.launch(1, 1, 1024, result.scales(), norms, outputs, result.largestNorm());
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
        device.free(matrix.largestNorm());
      }
    }
  }
}
