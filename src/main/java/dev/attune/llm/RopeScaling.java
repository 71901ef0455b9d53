package dev.attune.llm;

import com.fasterxml.jackson.annotation.JsonValue;
import java.util.ArrayList;
import java.util.List;

/**
 * How rotary frequencies differ from {@code theta^(-2i / headSize)}, so that a model can read longer texts than it was
 * first trained on. Formulas as in Hugging Face transformers' {@code modeling_rope_utils}.
 *
 * @param description for people
 * @param divisors {@code [headSize / 2]}, each pair's frequency is divided by it; empty: all 1
 * @param attentionFactor cosines and sines are multiplied by it (YaRN), otherwise 1
 */
public record RopeScaling(String description, List<Double> divisors, double attentionFactor) {

  public static final RopeScaling NONE = new RopeScaling("none", List.of(), 1);

  public RopeScaling {
    divisors = List.copyOf(divisors);
  }

  /** Positions divided by a factor. */
  public static RopeScaling linear(double factor, int headSize) {
    List<Double> divisors = new ArrayList<>();
    for (int i = 0; i < headSize / 2; i++) {
      divisors.add(factor);
    }
    return new RopeScaling("linear, factor " + factor, divisors, 1);
  }

  /** Divisors as a GGUF file lists them. */
  public static RopeScaling listed(float[] values) {
    List<Double> divisors = new ArrayList<>();
    for (float value : values) {
      divisors.add((double) value);
    }
    return new RopeScaling("factors in the file", divisors, 1);
  }

  /**
   * Llama 3.1: long waves are slowed down, short ones kept, between them a ramp.
   *
   * @param context that the model was first trained on
   */
  public static RopeScaling llama3(
      double factor, double lowFactor, double highFactor, int context, double theta, int headSize) {
    List<Double> divisors = new ArrayList<>();
    for (int i = 0; i < headSize / 2; i++) {
      double waves = context * unscaled(theta, i, headSize) / (2 * Math.PI);
      double smooth = Math.clamp((waves - lowFactor) / (highFactor - lowFactor), 0, 1);
      divisors.add(1 / ((1 - smooth) / factor + smooth));
    }
    return new RopeScaling("llama3, factor %s over %d".formatted(factor, context), divisors, 1);
  }

  /**
   * YaRN (arXiv 2309.00071): pairs that turn more than {@code fast} times within the first context are kept, those
   * below {@code slow} turns are slowed down, between them a ramp over the pair's index.
   *
   * @param truncate whether the ramp's ends are whole indices
   */
  public static RopeScaling yarn(
      double factor, double attentionFactor, double fast, double slow, boolean truncate, int context, double theta,
      int headSize) {
    double low = pairOf(fast, context, theta, headSize);
    double high = pairOf(slow, context, theta, headSize);
    if (truncate) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, headSize - 1);
    if (low == high) {
      high += 0.001;
    }
    List<Double> divisors = new ArrayList<>();
    for (int i = 0; i < headSize / 2; i++) {
      double slowed = Math.clamp((i - low) / (high - low), 0, 1);
      divisors.add(1 / (slowed / factor + 1 - slowed));
    }
    return new RopeScaling("yarn, factor %s over %d".formatted(factor, context), divisors, attentionFactor);
  }

  /** YaRN's own attention factor. */
  public static double yarnAttention(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  }

  private static double pairOf(double turns, int context, double theta, int headSize) {
    return headSize * Math.log(context / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private static double unscaled(double theta, int pair, int headSize) {
    return StrictMath.pow(theta, -2.0 * pair / headSize);
  }

  /** Frequency of a pair of dimensions, in radians a position. */
  public double frequency(double theta, int headSize, int pair) {
    return unscaled(theta, pair, headSize) / (divisors.isEmpty() ? 1 : divisors.get(pair));
  }

  @JsonValue
  @Override
  public String toString() {
    return description;
  }
}
