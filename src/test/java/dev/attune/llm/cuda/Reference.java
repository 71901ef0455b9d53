package dev.attune.llm.cuda;

import java.util.stream.IntStream;

/** What the kernels compute, in double precision and as plainly as possible. */
final class Reference {

  /** Between 1e-3 and 1e-2 is what bf16 gives. */
  static final double TOLERANCE = 6e-3;

  private Reference() {}

  static double[] toDouble(float[] values) {
    return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
  }

  static float squareSum(float[] x, int row, int width) {
    double sum = 0;
    for (int j = 0; j < width; j++) {
      sum += (double) x[row * width + j] * x[row * width + j];
    }
    return (float) sum;
  }

  /** {@code x [rows][inputs] . w [outputs][inputs]^T}. */
  static double[] multiply(float[] x, float[] w, int rows, int outputs, int inputs) {
    double[] out = new double[rows * outputs];
    // All rows of an output, whose weights are at hand then.
    IntStream.range(0, outputs).parallel().forEach(o -> {
      for (int i = 0; i < rows; i++) {
        out[i * outputs + o] = product(x, i * inputs, w, o * inputs, inputs);
      }
    });
    return out;
  }

  /** Four sums that do not wait for each other. */
  private static double product(float[] x, int xAt, float[] w, int wAt, int count) {
    double a = 0;
    double b = 0;
    double c = 0;
    double d = 0;
    int i = 0;
    for (; i + 3 < count; i += 4) {
      a += (double) x[xAt + i] * w[wAt + i];
      b += (double) x[xAt + i + 1] * w[wAt + i + 1];
      c += (double) x[xAt + i + 2] * w[wAt + i + 2];
      d += (double) x[xAt + i + 3] * w[wAt + i + 3];
    }
    for (; i < count; i++) {
      a += (double) x[xAt + i] * w[wAt + i];
    }
    return a + b + (c + d);
  }

  /** {@code 1 / sqrt(mean(x^2) + epsilon)} of each row. */
  static double[] normFactors(float[] x, int rows, int width, double epsilon) {
    double[] factors = new double[rows];
    for (int i = 0; i < rows; i++) {
      double sum = 0;
      for (int j = 0; j < width; j++) {
        sum += (double) x[i * width + j] * x[i * width + j];
      }
      factors[i] = 1 / Math.sqrt(sum / width + epsilon);
    }
    return factors;
  }

  static void scaleRows(double[] values, double[] factors, int width) {
    for (int i = 0; i < values.length; i++) {
      values[i] *= factors[i / width];
    }
  }

  static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }

  /** SwiGLU of gate and up that alternate in groups of eight. */
  static double[] swiglu(double[] gateUp, int rows, int width) {
    double[] out = new double[rows * width];
    for (int i = 0; i < rows; i++) {
      for (int f = 0; f < width; f++) {
        int at = i * 2 * width + f / 8 * 16 + f % 8;
        out[i * width + f] = silu(gateUp[at]) * gateUp[at + 8];
      }
    }
    return out;
  }

  /** Rotates one head in place. */
  static void rotate(double[] x, int offset, int headSize, int position, double theta) {
    int half = headSize / 2;
    for (int i = 0; i < half; i++) {
      double angle = position * Math.pow(theta, -2.0 * i / headSize);
      double a = x[offset + i];
      double b = x[offset + i + half];
      x[offset + i] = a * Math.cos(angle) - b * Math.sin(angle);
      x[offset + i + half] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }

  /**
   * Attention of one query over some keys.
   *
   * @param keys rows of {@code headSize}, each starting at one of {@code at}
   */
  static double[] attend(
      float[] q, int queryAt, float[][] keys, float[][] values, int[] at, int visible, int headSize) {
    double[] logits = new double[visible];
    double top = Double.NEGATIVE_INFINITY;
    for (int j = 0; j < visible; j++) {
      double sum = 0;
      for (int d = 0; d < headSize; d++) {
        sum += (double) q[queryAt + d] * keys[j][at[j] + d];
      }
      logits[j] = sum / Math.sqrt(headSize);
      top = Math.max(top, logits[j]);
    }
    double[] out = new double[headSize];
    double total = 0;
    for (int j = 0; j < visible; j++) {
      double weight = Math.exp(logits[j] - top);
      total += weight;
      for (int d = 0; d < headSize; d++) {
        out[d] += weight * values[j][at[j] + d];
      }
    }
    for (int d = 0; d < headSize; d++) {
      out[d] /= total;
    }
    return out;
  }
}
