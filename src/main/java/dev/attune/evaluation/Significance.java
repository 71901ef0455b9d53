package dev.attune.evaluation;

import java.util.Arrays;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Whether a difference between two systems over the same queries may be chance. Seeded: same input, same answer. */
final class Significance {

  private static final int ROUNDS = 10_000;
  private static final long SEED = 20231106;

  private Significance() {}

  /**
   * Two-sided paired randomisation test of equal means (Smucker, Allan, Carterette, CIKM 2007).
   *
   * @param a values of one system by query
   * @param b values of the other in the same order
   * @return probability of a difference at least as large if the systems were the same
   */
  static double pairedRandomisation(double[] a, double[] b) {
    if (a.length != b.length) {
      throw new IllegalArgumentException("The systems answered " + a.length + " and " + b.length + " queries");
    }
    double[] differences = new double[a.length];
    Arrays.setAll(differences, i -> a[i] - b[i]);
    double observed = Math.abs(Arrays.stream(differences).sum());
    RandomGenerator random = random();
    int atLeast = 0;
    for (int round = 0; round < ROUNDS; round++) {
      double sum = 0;
      for (double difference : differences) {
        sum += random.nextBoolean() ? difference : -difference;
      }
      if (Math.abs(sum) >= observed - 1e-12) {
        atLeast++;
      }
    }
    return (atLeast + 1.0) / (ROUNDS + 1.0);
  }

  /** 95 % percentile bootstrap interval of the mean, as {@code [low, high]}. */
  static double[] bootstrap(double[] values) {
    if (values.length == 0) {
      return new double[] {0, 0};
    }
    RandomGenerator random = random();
    double[] means = new double[2_000];
    for (int round = 0; round < means.length; round++) {
      double sum = 0;
      for (int i = 0; i < values.length; i++) {
        sum += values[random.nextInt(values.length)];
      }
      means[round] = sum / values.length;
    }
    Arrays.sort(means);
    return new double[] {means[(int) (0.025 * means.length)], means[(int) (0.975 * means.length)]};
  }

  private static RandomGenerator random() {
    return RandomGeneratorFactory.of("L64X128MixRandom").create(SEED);
  }
}
