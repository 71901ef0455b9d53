package dev.attune.ranking;

import static dev.attune.ranking.RankingFixture.TEXTS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.TestModel;
import dev.attune.llm.kv.KvCodec;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.RankingVariants.Form;
import dev.attune.ranking.RankingVariants.Masses;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RankingVariantsTest {

  @Test
  void areTheMassesOfARankerWithTheseSettings() {
    List<RankCandidate> list = RankingFixture.candidates("variants", TEXTS);
    RankingVariants variants = new RankingVariants.Factory(RankingFixture.properties(Map.of())).of(TestModel.get());
    List<Form> forms = List.of(Form.FULL, new Form(KvCodec.INT8, 1), new Form(KvCodec.INT8, 0.25));
    Masses masses = variants.rank("how does blood move", list, List.of(), forms);
    assertThat(masses.masses().get(0)).isEqualTo(new RankingFixture(Map.of()).rank("how does blood move", list).scores());
    Map<String, String> small = Map.of("document-codec", "int8", "kept-tokens", "0.25");
    assertThat(masses.masses().get(2)).isEqualTo(new RankingFixture(small).rank("how does blood move", list).scores());
    assertThat(masses.masses().get(1)).isNotEqualTo(masses.masses().get(0)).isNotEqualTo(masses.masses().get(2));
    assertThat(variants.rank("how does blood move", list, List.of(), forms).masses().get(2)).isEqualTo(masses.masses().get(2));
  }
}
