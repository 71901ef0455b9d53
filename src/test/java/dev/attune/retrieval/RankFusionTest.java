package dev.attune.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

class RankFusionTest {

  @Example
  void addsReciprocalRanks() {
    List<RankFusion.Fused<String>> fused = RankFusion.fuse(List.of(List.of("a", "b"), List.of("b", "c")));
    assertThat(fused).extracting(RankFusion.Fused::item).containsExactly("b", "a", "c");
    assertThat(fused.getFirst().score()).isCloseTo(1 / 62.0 + 1 / 61.0, within(1e-15));
  }

  @Property
  void holdsEveryItemOnceInDescendingOrder(@ForAll("ranking") List<Integer> a, @ForAll("ranking") List<Integer> b) {
    List<RankFusion.Fused<Integer>> fused = RankFusion.fuse(List.of(a, b));
    Set<Integer> all = new HashSet<>(a);
    all.addAll(b);
    assertThat(fused).extracting(RankFusion.Fused::item).containsExactlyInAnyOrderElementsOf(all);
    for (int i = 1; i < fused.size(); i++) {
      assertThat(fused.get(i).score()).isLessThanOrEqualTo(fused.get(i - 1).score());
    }
  }

  @Property
  void anItemAheadInBothListsIsAhead(@ForAll("ranking") List<Integer> a, @ForAll("ranking") List<Integer> b) {
    List<Integer> order = RankFusion.fuse(List.of(a, b)).stream().map(RankFusion.Fused::item).toList();
    for (int x : a) {
      for (int y : a) {
        if (b.contains(x) && b.contains(y) && a.indexOf(x) < a.indexOf(y) && b.indexOf(x) < b.indexOf(y)) {
          assertThat(order.indexOf(x)).isLessThan(order.indexOf(y));
        }
      }
    }
  }

  @Property
  void oneListKeepsItsOrder(@ForAll("ranking") List<Integer> a) {
    assertThat(RankFusion.fuse(List.of(a, List.of()))).extracting(RankFusion.Fused::item).isEqualTo(a);
  }

  @Provide
  Arbitrary<List<Integer>> ranking() {
    return Arbitraries.integers().between(0, 15).list().uniqueElements().ofMaxSize(12);
  }
}
