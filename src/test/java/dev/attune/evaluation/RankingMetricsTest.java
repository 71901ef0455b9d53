package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.evaluation.RankingMetrics.Scored;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** Against values worked out by hand. */
class RankingMetricsTest {

  private static final Map<String, Integer> GRADES = Map.of("a", 3, "b", 2, "c", 1, "d", 0, "e", -1);

  @Example
  void ndcgHasLinearGainAndLogDiscount() {
    // DCG = 2/log2(2) + 0 + 3/log2(4) = 3.5; ideal = 3 + 2/log2(3) + 1/2 = 4.761859507142915.
    assertThat(RankingMetrics.ndcg(List.of("b", "x", "a"), GRADES, 10))
        .isCloseTo(3.5 / 4.761859507142915, within(1e-12));
    // The ideal is cut too: at depth 1 it is 3.
    assertThat(RankingMetrics.ndcg(List.of("b", "a"), GRADES, 1)).isCloseTo(2.0 / 3, within(1e-12));
    assertThat(RankingMetrics.ndcg(List.of("a", "b", "c"), GRADES, 10)).isCloseTo(1, within(1e-12));
  }

  @Example
  void unjudgedAndNegativeGradesGainNothing() {
    assertThat(RankingMetrics.ndcg(List.of("e", "d", "x"), GRADES, 10)).isZero();
    assertThat(RankingMetrics.ndcg(List.of("a"), Map.of("b", 0), 10)).isZero();
    assertThat(RankingMetrics.ndcg(List.of(), GRADES, 10)).isZero();
  }

  @Example
  void reciprocalRankAndRecall() {
    assertThat(RankingMetrics.reciprocalRank(List.of("d", "x", "c", "a"), GRADES, 10))
        .isCloseTo(1 / 3.0, within(1e-12));
    assertThat(RankingMetrics.reciprocalRank(List.of("d", "x", "c"), GRADES, 2)).isZero();
    assertThat(RankingMetrics.recall(List.of("d", "a", "x", "c"), GRADES, 100)).isCloseTo(2 / 3.0, within(1e-12));
    assertThat(RankingMetrics.recall(List.of("d", "a", "c"), GRADES, 2)).isCloseTo(1 / 3.0, within(1e-12));
    assertThat(RankingMetrics.recall(List.of("a"), Map.of(), 100)).isZero();
  }

  @Example
  void equalScoresAreOrderedByIdDescending() {
    assertThat(
            RankingMetrics.order(
                List.of(new Scored("10", 1), new Scored("9", 1), new Scored("b", 2), new Scored("a", 2))))
        .containsExactly("b", "a", "9", "10");
  }

  @Property
  void measuresLieBetweenZeroAndOneAndTheIdealOrderIsBest(@ForAll("rankings") List<String> ranking) {
    double ndcg = RankingMetrics.ndcg(ranking, GRADES, 10);
    assertThat(ndcg).isBetween(0.0, 1.0 + 1e-12);
    List<String> ideal =
        ranking.stream().sorted((x, y) -> GRADES.getOrDefault(y, 0) - GRADES.getOrDefault(x, 0)).toList();
    assertThat(RankingMetrics.ndcg(ideal, GRADES, 10)).isGreaterThanOrEqualTo(ndcg - 1e-12);
    assertThat(RankingMetrics.recall(ranking, GRADES, 10)).isBetween(0.0, 1.0);
  }

  @Provide
  Arbitrary<List<String>> rankings() {
    return Arbitraries.of("a", "b", "c", "d", "e", "x", "y").list().uniqueElements();
  }
}
