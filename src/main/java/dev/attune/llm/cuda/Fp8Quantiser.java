package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;

/** Makes {@link Fp8Weights} of matrices in 16 bits, which may be given back as soon as it has returned. */
final class Fp8Quantiser implements AutoCloseable {

  private static final int THREADS = 256;
  private static final int WARPS = THREADS / 32;

  private final CudaDevice device;
  private final Kernels kernels;
  private final int hidden;
  private final int attention;
  private final int qkv;
  private final int inner;
  /** Of the rows of the matrix that was quantised last. */
  private final long norms;
  /** Of the outputs of SwiGLU, as gate and up of the last layer bound them. */
  private final long factors;

  Fp8Quantiser(CudaDevice device, Kernels kernels, ModelConfig config) {
    this.device = device;
    this.kernels = kernels;
    hidden = config.hidden();
    attention = config.heads() * config.headSize();
    qkv = attention + 2 * config.kvHeads() * config.headSize();
    inner = config.feedForward();
    norms = device.allocate(8L * Math.max(qkv, Math.max(hidden, 2 * inner)), "norms of weights");
    factors = device.allocate(4L * inner, "factors of SwiGLU");
  }

  Fp8Weights.Layer layer(CudaWeights.Layer layer) {
    return new Fp8Weights.Layer(
        qkv(layer.qkv()), attentionOutput(layer.attentionOutput()), gateUp(layer.gateUp()), down(layer.down()));
  }

  Matrix qkv(long matrix) {
    return quantised(matrix, 0, qkv, hidden);
  }

  Matrix attentionOutput(long matrix) {
    return quantised(matrix, 0, hidden, attention);
  }

  Matrix gateUp(long matrix) {
    Matrix result = quantised(matrix, 0, 2 * inner, hidden);
    kernels.boundSwiglu.launch((inner + WARPS - 1) / WARPS, 1, THREADS, result.address(), result.scales(), norms,
        hidden, inner, factors);
    return result;
  }

  /** After {@link #gateUp} of the same layer. */
  Matrix down(long matrix) {
    return quantised(matrix, factors, hidden, inner);
  }

  /** {@code columns} are factors of the columns, or 0. Leaves the norms of the rows. */
  private Matrix quantised(long matrix, long columns, int outputs, int inputs) {
    String what = "weights [%d, %d] in FP8".formatted(outputs, inputs);
    Matrix result = new Matrix(device.allocate((long) outputs * inputs, what), device.allocate(4L * outputs, what),
        device.allocate(4, what));
    kernels.quantiseRows.launch(
        outputs, 1, THREADS, matrix, columns, result.address(), result.scales(), norms, 0L, inputs);
    kernels.largestNorm.launch(1, 1, 1024, result.scales(), norms, outputs, result.largestNorm());
    return result;
  }

  @Override
  public void close() {
    device.synchronize("Quantising weights");
    device.free(factors);
    device.free(norms);
  }
}
