package dev.attune.ranking;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Fuses the evidence for a list of candidates into one order. It only reorders: every candidate stays.
 *
 * <p>score = retrieval + w<sub>b</sub> · blockrank + w<sub>a</sub> · affinity, where
 *
 * <ul>
 *   <li>retrieval is the retrieval score scaled to [0,1] over the list;
 *   <li>blockrank is the logarithm of the candidate's mass relative to the largest of the list, 1 for the largest and 0
 *       for a thousandth of it or less. A candidate that was not read takes the mean of those that were read, so that
 *       reading moves nobody up or down on average;
 *   <li>affinity is the caller's, cut to [0,1].
 * </ul>
 *
 * <p>Equal scores keep the retrieval order, so with both weights 0 the result is the retrieval order. Thread-safe.
 */
public final class RankFusion {

  /** Share of the largest mass that counts as nothing; masses of a trained model span several powers of ten. */
  private static final double FLOOR = 1e-3;

  private final double blockRankWeight;
  private final double affinityWeight;

  /**
   * Fixes the weights; that of retrieval is 1.
   *
   * @throws IllegalArgumentException when a weight is negative or not finite
   */
  public RankFusion(double blockRankWeight, double affinityWeight) {
    this.blockRankWeight = checked("blockrank", blockRankWeight);
    this.affinityWeight = checked("affinity", affinityWeight);
  }

  private static double checked(String name, double weight) {
    if (weight < 0 || !Double.isFinite(weight)) {
      throw new IllegalArgumentException("The weight of " + name + " is " + weight + "; it must be 0 or more");
    }
    return weight;
  }

  /**
   * Fuses a list.
   *
   * @param evidence in retrieval order
   */
  public Fused fuse(List<Evidence> evidence) {
    int n = evidence.size();
    double[] retrieval = scaled(evidence.stream().mapToDouble(Evidence::retrieval).toArray());
    double[] blockRank = relative(evidence.stream().mapToDouble(Evidence::blockRank).toArray());
    double[] scores = new double[n];
    for (int i = 0; i < n; i++) {
      double affinity = evidence.get(i).affinity();
      double bounded = affinity > 0 ? Math.min(1, affinity) : 0;
      scores[i] = retrieval[i] + blockRankWeight * blockRank[i] + affinityWeight * bounded;
    }
    int[] order =
        IntStream.range(0, n)
            .boxed()
            .sorted(Comparator.comparingDouble((Integer i) -> -scores[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    return new Fused(order, scores);
  }

  private static double[] scaled(double[] scores) {
    double low = Arrays.stream(scores).min().orElse(0);
    double high = Arrays.stream(scores).max().orElse(0);
    return Arrays.stream(scores).map(score -> high > low ? (score - low) / (high - low) : 1).toArray();
  }

  private static double[] relative(double[] masses) {
    double high = Arrays.stream(masses).filter(mass -> !Double.isNaN(mass)).max().orElse(0);
    if (high <= 0) {
      return new double[masses.length];
    }
    double[] relative =
        Arrays.stream(masses).map(mass -> Math.max(0, 1 - Math.log(mass / high) / Math.log(FLOOR))).toArray();
    double mean = Arrays.stream(relative).filter(value -> !Double.isNaN(value)).average().orElse(0);
    return Arrays.stream(relative).map(value -> Double.isNaN(value) ? mean : value).toArray();
  }

  /**
   * What is known of one candidate.
   *
   * @param retrieval score of the retriever, finite, higher is better
   * @param blockRank mass of {@link Ranker.Ranking#scores}; {@code NaN} when not read
   * @param affinity how near the candidate is to the user's interests; cut to [0,1], 0 without personalization
   */
  public record Evidence(double retrieval, double blockRank, double affinity) {}

  /**
   * The fused list.
   *
   * @param order indices into the evidence, best first
   * @param scores fused score per evidence, in the order of the evidence; 0 to 1 + both weights
   */
  public record Fused(int[] order, double[] scores) {}
}
