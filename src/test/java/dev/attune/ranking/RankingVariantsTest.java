package dev.attune.ranking;

import static dev.attune.ranking.RankingFixture.TEXTS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.TestModel;
import dev.attune.llm.kv.KvCodec;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.RankingVariants.Form;
import dev.attune.ranking.RankingVariants.Masses;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RankingVariantsTest {

  @Test
  void areTheMassesOfARankerWithTheseSettings() {
    List<RankCandidate> list = RankingFixture.candidates("variants", TEXTS);
    RankingVariants variants = new RankingVariants.Factory(RankingFixture.properties(Map.of())).of(TestModel.get());
    List<Form> forms = List.of(
        Form.FULL, new Form(KvCodec.INT8, 1, ScoreTransform.NONE), new Form(KvCodec.INT8, 0.25, ScoreTransform.NONE));
    Masses masses = variants.rank("how does blood move", list, List.of(), forms);
    assertThat(masses.masses().get(0))
        .isEqualTo(new RankingFixture(Map.of()).rank("how does blood move", list).scores());
    Map<String, String> small = Map.of("document-codec", "int8", "kept-tokens", "0.25");
    assertThat(masses.masses().get(2)).isEqualTo(new RankingFixture(small).rank("how does blood move", list).scores());
    assertThat(masses.masses().get(1)).isNotEqualTo(masses.masses().get(0)).isNotEqualTo(masses.masses().get(2));
    assertThat(variants.rank("how does blood move", list, List.of(), forms).masses().get(2))
        .isEqualTo(masses.masses().get(2));
  }

  @ParameterizedTest
  @EnumSource(ScoreTransform.class)
  void transformedMassesAreADistributionThatAPermutationPermutes(ScoreTransform transform) {
    RankingVariants variants = new RankingVariants.Factory(RankingFixture.properties(Map.of())).of(TestModel.get());
    List<Form> forms = List.of(new Form(null, 1, transform));
    List<RankCandidate> list = RankingFixture.candidates("transformed", TEXTS.subList(0, 5));
    double[] masses = variants.rank("how does blood move", list, List.of(), forms).masses().getFirst();
    assertThat(Arrays.stream(masses).sum()).isCloseTo(1, within(1e-5));
    assertThat(Arrays.stream(masses)).allMatch(mass -> mass >= 0);
    double[] reversed = variants.rank("how does blood move", list.reversed(), List.of(), forms).masses().getFirst();
    assertThat(reversed).isEqualTo(IntStream.range(0, 5).mapToDouble(i -> masses[4 - i]).toArray());
    double[] service =
        new RankingFixture(Map.of("score-transform", transform.name())).rank("how does blood move", list).scores();
    assertThat(service).isEqualTo(masses);
    if (transform != ScoreTransform.NONE) {
      assertThat(masses).isNotEqualTo(
          variants.rank("how does blood move", list, List.of(), List.of(Form.FULL)).masses().getFirst());
    }
  }

  /** A query without content says nothing about any document. */
  @Test
  void debiasingLeavesNothingOfTheQueryWithoutContent() {
    RankingVariants variants = new RankingVariants.Factory(RankingFixture.properties(Map.of())).of(TestModel.get());
    List<RankCandidate> list = RankingFixture.candidates("debiased", TEXTS.subList(0, 4));
    List<Form> forms = List.of(new Form(null, 1, ScoreTransform.DEBIASED));
    assertThat(variants.rank("N/A", list, List.of(), forms).masses().getFirst())
        .containsExactly(new double[] {0.25, 0.25, 0.25, 0.25}, within(1e-6));
  }
}
