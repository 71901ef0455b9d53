package dev.attune.llm.cpu;

import static dev.attune.llm.cpu.Lanes.FLOATS;
import static dev.attune.llm.cpu.Lanes.WIDTH;

import dev.attune.llm.ModelConfig;
import jdk.incubator.vector.FloatVector;

/** Rotary position embedding, half-split: dimensions {@code i} and {@code i + headSize / 2} rotate together. */
final class Rope {

  private final int half;
  /** {@code [context][half]}. */
  private final float[] cosines;
  private final float[] sines;

  Rope(ModelConfig config) {
    half = config.headSize() / 2;
    cosines = new float[config.context() * half];
    sines = new float[config.context() * half];
    double factor = config.ropeScaling().attentionFactor();
    for (int i = 0; i < half; i++) {
      double frequency = config.ropeScaling().frequency(config.ropeTheta(), config.headSize(), i);
      for (int position = 0; position < config.context(); position++) {
        cosines[position * half + i] = (float) (StrictMath.cos(position * frequency) * factor);
        sines[position * half + i] = (float) (StrictMath.sin(position * frequency) * factor);
      }
    }
  }

  /** Rotates {@code heads} heads that lie side by side. */
  void rotate(float[] x, int offset, int heads, int position) {
    int table = position * half;
    int bound = FLOATS.loopBound(half);
    for (int head = 0; head < heads; head++) {
      int low = offset + head * 2 * half;
      int high = low + half;
      for (int i = 0; i < bound; i += WIDTH) {
        FloatVector cos = FloatVector.fromArray(FLOATS, cosines, table + i);
        FloatVector sin = FloatVector.fromArray(FLOATS, sines, table + i);
        FloatVector a = FloatVector.fromArray(FLOATS, x, low + i);
        FloatVector b = FloatVector.fromArray(FLOATS, x, high + i);
        a.mul(cos).sub(b.mul(sin)).intoArray(x, low + i);
        b.mul(cos).add(a.mul(sin)).intoArray(x, high + i);
      }
      for (int i = bound; i < half; i++) {
        float a = x[low + i];
        float b = x[high + i];
        x[low + i] = a * cosines[table + i] - b * sines[table + i];
        x[high + i] = b * cosines[table + i] + a * sines[table + i];
      }
    }
  }
}
