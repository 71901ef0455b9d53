package dev.attune.llm.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Of next-token logits. */
public final class Softmax {

  /** Vectors summed in single precision before the sum goes on in double. */
  private static final int BLOCK = 16;

  private Softmax() {}

  /** Natural logarithm of the sum of e^logit; relative error of the sum below 1e-6. */
  public static double logSum(float[] logits) {
    int whole = Lanes.FLOATS.loopBound(logits.length);
    FloatVector tops = FloatVector.broadcast(Lanes.FLOATS, Float.NEGATIVE_INFINITY);
    for (int i = 0; i < whole; i += Lanes.WIDTH) {
      tops = tops.max(FloatVector.fromArray(Lanes.FLOATS, logits, i));
    }
    float top = tops.reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < logits.length; i++) {
      top = Math.max(top, logits[i]);
    }
    double total = 0;
    float[] lanes = new float[Lanes.WIDTH];
    for (int from = 0; from < whole; from += BLOCK * Lanes.WIDTH) {
      FloatVector sum = FloatVector.zero(Lanes.FLOATS);
      int end = Math.min(whole, from + BLOCK * Lanes.WIDTH);
      for (int i = from; i < end; i += Lanes.WIDTH) {
        sum = sum.add(Lanes.exp(FloatVector.fromArray(Lanes.FLOATS, logits, i).sub(top)));
      }
      // In a fixed order: how reduceLanes adds is up to whether it was compiled.
      sum.intoArray(lanes, 0);
      for (float lane : lanes) {
        total += lane;
      }
    }
    for (int i = whole; i < logits.length; i++) {
      total += Math.exp(logits[i] - top);
    }
    return top + Math.log(total);
  }
}
