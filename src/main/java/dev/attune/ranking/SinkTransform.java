package dev.attune.ranking;

import java.util.Arrays;

/**
 * Takes attention from tokens that are sinks and gives it to the others of the same head, in proportion to what they
 * have. Neither the total of a head nor the order of the documents given matters to the outcome.
 *
 * @param leastContent share of a head's attention on tokens that are no sinks below which the head stays as it is
 * @param kept share of its attention that a sink keeps
 */
record SinkTransform(double leastContent, double kept) {

  /** ACT: every head, a sink keeps .4. */
  static final SinkTransform CALIBRATED = new SinkTransform(0, 0.4);

  /** VAR: heads with at least .8 on content, a sink keeps .6. Neither was tuned on our lists. */
  static final SinkTransform REDISTRIBUTED = new SinkTransform(0.8, 0.6);

  /** Times the mean that a token of a head may draw before it counts as a sink, of ACT. */
  private static final double SINK = 5;

  /**
   * Masses of documents.
   *
   * @param attention {@code [head * tokens + token]}, each head's summing to 1
   * @param documentOf the document of each token, ascending from 0
   * @return one mass a document, summing to 1
   */
  float[] masses(float[] attention, int[] documentOf) {
    int tokens = documentOf.length;
    int heads = attention.length / tokens;
    int documents = documentOf[tokens - 1] + 1;
    float bound = (float) (SINK / tokens);
    double[] masses = new double[documents];
    for (int head = 0; head < heads; head++) {
      double[] sinks = new double[documents];
      double[] content = new double[documents];
      for (int i = 0; i < tokens; i++) {
        float drawn = attention[head * tokens + i];
        (drawn > bound ? sinks : content)[documentOf[i]] += drawn;
      }
      double onContent = sum(content);
      double onSinks = sum(sinks);
      boolean changed = onContent > 0 && onContent >= leastContent * (onContent + onSinks);
      double more = changed ? 1 + (1 - kept) * onSinks / onContent : 1;
      for (int d = 0; d < documents; d++) {
        masses[d] += (content[d] * more + sinks[d] * (changed ? kept : 1)) / heads;
      }
    }
    float[] result = new float[documents];
    for (int d = 0; d < documents; d++) {
      result[d] = (float) masses[d];
    }
    return result;
  }

  /** In order of size, so that the order of the documents changes no bit. */
  private static double sum(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return Arrays.stream(sorted).reduce(0, Double::sum);
  }
}
