package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class ReadingCostTest {

  private final ReadingCost cost = new ReadingCost(1_000);

  @Test
  void followsTheLoad() {
    assertThat(cost.reading(160)).isEqualTo(160_000);
    for (int i = 0; i < 20; i++) {
      cost.read(160, 320_000);
    }
    assertThat(cost.reading(160)).isCloseTo(320_000, within(1_000.0));
    assertThat(cost.tokensPerSecond()).isCloseTo(500_000, within(2_000.0));
  }

  @Test
  void scoringGrowsWithTheContextOnceMeasured() {
    assertThat(cost.scoring(50, 1_000)).isEqualTo(50_000);
    cost.scored(50, 1_000, 150_000);
    assertThat(cost.scoring(50, 1_000)).isCloseTo(150_000, within(1e-6));
    assertThat(cost.scoring(50, 2_000)).isCloseTo(250_000, within(1e-6));
  }

  @Test
  void aFastMeasurementNeverMakesAttentionNegative() {
    cost.scored(50, 1_000, 1);
    assertThat(cost.scoring(50, 1_000)).isEqualTo(50_000);
  }
}
