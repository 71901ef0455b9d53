package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.attune.ranking.RankFusion.Evidence;
import dev.attune.ranking.RankFusion.Fused;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;

class RankFusionTest {

  @Property
  void keepsEveryCandidate(
      @ForAll("lists") List<Evidence> list,
      @ForAll @DoubleRange(max = 10) double blockRank,
      @ForAll @DoubleRange(max = 10) double affinity) {
    Fused fused = new RankFusion(blockRank, affinity).fuse(list);
    int[] sorted = fused.order().clone();
    Arrays.sort(sorted);
    assertThat(sorted).isEqualTo(IntStream.range(0, list.size()).toArray());
    for (int i = 1; i < sorted.length; i++) {
      assertThat(fused.scores()[fused.order()[i]]).isLessThanOrEqualTo(fused.scores()[fused.order()[i - 1]]);
    }
  }

  @Property
  void withoutWeightsKeepsTheRetrievalOrder(@ForAll("lists") List<Evidence> list) {
    assertThat(new RankFusion(0, 0).fuse(list).order()).isEqualTo(IntStream.range(0, list.size()).toArray());
  }

  @Property
  void withNothingReadAndNoUserKeepsTheRetrievalOrder(
      @ForAll("lists") List<Evidence> list, @ForAll @DoubleRange(max = 10) double weight) {
    List<Evidence> unread = list.stream().map(e -> new Evidence(e.retrieval(), Double.NaN, 0)).toList();
    assertThat(new RankFusion(weight, weight).fuse(unread).order())
        .isEqualTo(IntStream.range(0, list.size()).toArray());
  }

  @Property
  void moreEvidenceNeverLowersARank(
      @ForAll("lists") List<Evidence> list,
      @ForAll @IntRange(max = 39) int pick,
      @ForAll @DoubleRange(max = 1) double more,
      @ForAll boolean affinity,
      @ForAll @DoubleRange(max = 2) double weight) {
    int i = pick % list.size();
    Evidence old = list.get(i);
    if (!affinity && Double.isNaN(old.blockRank())) {
      return;
    }
    List<Evidence> better = new ArrayList<>(list);
    better.set(
        i,
        affinity
            ? new Evidence(old.retrieval(), old.blockRank(), old.affinity() + more)
            : new Evidence(old.retrieval(), old.blockRank() + more, old.affinity()));
    RankFusion fusion = new RankFusion(weight, weight);
    // Unread candidates stand at the mean, which rises with any mass: compare among those read.
    List<Evidence> readBefore = affinity ? list : read(list);
    List<Evidence> readAfter = affinity ? better : read(better);
    int before = affinity ? i : indexAmongRead(list, i);
    assertThat(rank(fusion.fuse(readAfter), before)).isLessThanOrEqualTo(rank(fusion.fuse(readBefore), before));
  }

  @Property
  void affinityMovesAtMostItsWeight(
      @ForAll("lists") List<Evidence> list, @ForAll @DoubleRange(max = 0.5) double weight) {
    double[] with = new RankFusion(0.1, weight).fuse(list).scores();
    double[] without = new RankFusion(0.1, 0).fuse(list).scores();
    for (int i = 0; i < with.length; i++) {
      assertThat(with[i] - without[i]).isBetween(0.0, weight + 1e-12);
    }
  }

  /** Reading a candidate must not help or harm it by itself: over the list the expected move is 0. */
  @Property
  void unreadCandidatesStandAtTheMeanOfThoseRead(@ForAll("lists") List<Evidence> list) {
    double[] moved = difference(list);
    double meanRead = IntStream.range(0, moved.length)
        .filter(i -> !Double.isNaN(list.get(i).blockRank()))
        .mapToDouble(i -> moved[i])
        .average()
        .orElse(0);
    for (int i = 0; i < moved.length; i++) {
      if (Double.isNaN(list.get(i).blockRank())) {
        assertThat(moved[i]).isCloseTo(meanRead, within(1e-9));
      }
    }
  }

  @Property
  void unreadCandidatesKeepTheirOrderAmongThemselves(@ForAll("lists") List<Evidence> list) {
    Fused fused = new RankFusion(0.7, 0).fuse(list);
    int[] unread = Arrays.stream(fused.order()).filter(i -> Double.isNaN(list.get(i).blockRank())).toArray();
    int[] sorted = unread.clone();
    Arrays.sort(sorted);
    assertThat(unread).isEqualTo(sorted);
  }

  @Example
  void refusesWeightsThatWouldReverseEvidence() {
    assertThatThrownBy(() -> new RankFusion(-0.1, 0)).hasMessageContaining("blockrank");
    assertThatThrownBy(() -> new RankFusion(0, Double.NaN)).hasMessageContaining("affinity");
  }

  @Example
  void emptyListAndEqualScores() {
    assertThat(new RankFusion(1, 1).fuse(List.of()).order()).isEmpty();
    Evidence same = new Evidence(3, Double.NaN, Double.NaN);
    assertThat(new RankFusion(1, 1).fuse(List.of(same, same, same)).order()).containsExactly(0, 1, 2);
  }

  private static double[] difference(List<Evidence> list) {
    double[] with = new RankFusion(0.5, 0).fuse(list).scores();
    double[] without = new RankFusion(0, 0).fuse(list).scores();
    return IntStream.range(0, with.length).mapToDouble(i -> with[i] - without[i]).toArray();
  }

  private static List<Evidence> read(List<Evidence> list) {
    return list.stream().filter(e -> !Double.isNaN(e.blockRank())).toList();
  }

  private static int indexAmongRead(List<Evidence> list, int i) {
    return read(list.subList(0, i)).size();
  }

  private static int rank(Fused fused, int candidate) {
    return IntStream.range(0, fused.order().length)
        .filter(r -> fused.order()[r] == candidate)
        .findFirst()
        .orElseThrow();
  }

  @Provide
  Arbitrary<List<Evidence>> lists() {
    Arbitrary<Double> mass =
        Arbitraries.oneOf(Arbitraries.doubles().between(0, 1), Arbitraries.just(Double.NaN), Arbitraries.just(0.0));
    return Combinators.combine(
            Arbitraries.doubles().between(0, 50), mass, Arbitraries.doubles().between(0, 1.5))
        .as(Evidence::new)
        .list()
        .ofMinSize(1)
        .ofMaxSize(40)
        .map(list -> list.stream().sorted(Comparator.comparingDouble(Evidence::retrieval).reversed()).toList());
  }
}
