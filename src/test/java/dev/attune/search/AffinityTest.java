package dev.attune.search;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.assertj.core.data.Offset;

class AffinityTest {

  @Property
  void staysInBoundsAndGrowsWithInterest(
      @ForAll("documents") List<Set<String>> documents, @ForAll("interests") Map<String, Double> interests) {
    Map<String, Double> more = new HashMap<>(interests);
    more.replaceAll((id, interest) -> interest * 2);
    List<Map<String, Double>> contributions = Affinity.contributions(documents, interests);
    List<Map<String, Double>> grown = Affinity.contributions(documents, more);
    for (int i = 0; i < documents.size(); i++) {
      double affinity = Affinity.total(contributions.get(i));
      assertThat(affinity).isBetween(0.0, 1.0);
      assertThat(Affinity.total(grown.get(i))).isGreaterThanOrEqualTo(affinity - 1e-12);
      boolean shares = documents.get(i).stream().anyMatch(interests::containsKey);
      assertThat(affinity > 0).isEqualTo(shares);
    }
  }

  @Property
  void orderOfCandidatesDoesNotMatter(
      @ForAll("documents") List<Set<String>> documents,
      @ForAll("interests") Map<String, Double> interests,
      @ForAll long seed) {
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < documents.size(); i++) {
      order.add(i);
    }
    Collections.shuffle(order, new Random(seed));
    List<Map<String, Double>> straight = Affinity.contributions(documents, interests);
    List<Map<String, Double>> shuffled =
        Affinity.contributions(order.stream().map(documents::get).toList(), interests);
    for (int i = 0; i < order.size(); i++) {
      assertThat(shuffled.get(i)).isEqualTo(straight.get(order.get(i)));
    }
  }

  @Property
  void rareEntityCountsMoreThanCommonOne(@ForAll("sizes") int n) {
    List<Set<String>> documents = new ArrayList<>();
    documents.add(Set.of("rare", "common"));
    for (int i = 1; i < n; i++) {
      documents.add(Set.of("common"));
    }
    Map<String, Double> contributions =
        Affinity.contributions(documents, Map.of("rare", 1.0, "common", 1.0)).getFirst();
    assertThat(contributions.keySet()).containsExactly("rare", "common");
    assertThat(contributions.get("rare")).isCloseTo(0.5, Offset.offset(1e-9));
    assertThat(contributions.get("common")).isLessThan(contributions.get("rare"));
  }

  @Provide
  Arbitrary<Integer> sizes() {
    return Arbitraries.integers().between(2, 500);
  }

  @Provide
  Arbitrary<List<Set<String>>> documents() {
    return Arbitraries.of("a", "b", "c", "d", "e").set().ofMaxSize(5).list().ofMinSize(1).ofMaxSize(20);
  }

  @Provide
  Arbitrary<Map<String, Double>> interests() {
    return Arbitraries.maps(Arbitraries.of("a", "b", "c", "x"), Arbitraries.doubles().between(0.01, 1000));
  }
}
