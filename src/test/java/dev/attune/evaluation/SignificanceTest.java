package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class SignificanceTest {

  @Test
  void equalSystemsDoNotDiffer() {
    double[] a = {0.1, 0.5, 0.9};
    assertThat(Significance.pairedRandomisation(a, a.clone())).isEqualTo(1);
  }

  /** Ten times the same sign: 2 of the 1,024 sign patterns are as extreme. */
  @Test
  void agreesWithTheExactTest() {
    double[] a = new double[10];
    double[] b = new double[10];
    Arrays.setAll(a, i -> 0.1 * (i + 1));
    assertThat(Significance.pairedRandomisation(a, b)).isCloseTo(2 / 1024.0, within(0.0015));
  }

  @Test
  void theIntervalHoldsTheMean() {
    double[] values = new double[200];
    Arrays.setAll(values, i -> i % 2);
    double[] interval = Significance.bootstrap(values);
    // Standard error of a fair coin over 200 throws: 0.0354; 1.96 of them on each side.
    assertThat(interval[0]).isCloseTo(0.5 - 0.069, within(0.015));
    assertThat(interval[1]).isCloseTo(0.5 + 0.069, within(0.015));
  }

  @Test
  void refusesUnpairedValues() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Significance.pairedRandomisation(new double[1], new double[2]));
  }
}
