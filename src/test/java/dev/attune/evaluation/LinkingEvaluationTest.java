package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.entity.Mention;
import dev.attune.entity.NameFinder.Candidate;
import dev.attune.entity.NameFinder.Name;
import dev.attune.evaluation.LinkedTexts.Gold;
import dev.attune.evaluation.LinkedTexts.LinkedText;
import dev.attune.evaluation.LinkingEvaluation.Score;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LinkingEvaluationTest {

  /** "dune cast": Dune is in the knowledge base; "cast" is marked as something that is not. */
  private static final List<LinkedText> TEXTS =
      List.of(new LinkedText("dune cast", List.of(new Gold(0, 4, "Dune"), new Gold(5, 9, "Cast (film)"))));

  private static final Map<String, String> IDS = Map.of("Dune", "Q1");

  @TempDir Path directory;

  @Test
  void countsMentionsOnce() {
    Score score =
        LinkingEvaluation.linker(
            (text, context) -> List.of(new Mention(0, 4, "dune", "Q1", 1), new Mention(5, 9, "cast", "Q2", 1)),
            TEXTS, IDS);
    assertThat(score).isEqualTo(new Score(2, 1, 2, 1));
    assertThat(score.f1()).isCloseTo(2.0 / 3, within(1e-12));
    assertThat(score.f1All()).isCloseTo(0.5, within(1e-12));
    assertThat(LinkingEvaluation.linker((text, context) -> List.of(new Mention(5, 9, "cast", "Q1", 1)), TEXTS, IDS)
        .right())
        .as("the right entity in the wrong place").isZero();
  }

  @Test
  void commonnessTakesTheMostCommonAndItsBestBound() {
    List<Name> names =
        List.of(
            new Name(0, 4, false, List.of(new Candidate("Q1", 0.8), new Candidate("Q3", 0.7))),
            new Name(5, 9, false, List.of(new Candidate("Q2", 0.3))));
    assertThat(LinkingEvaluation.commonness(text -> names, TEXTS, IDS)).isEqualTo(new Score(2, 1, 1, 1));
    assertThat(LinkingEvaluation.candidateRecall(LinkingEvaluation.candidates(text -> names, TEXTS, IDS))).isEqualTo(1);
    assertThat(LinkingEvaluation.candidateRecall(
            LinkingEvaluation.candidates(text -> names.subList(1, 2), TEXTS, IDS))).isZero();
  }

  @Test
  void readsWhatIsPublished() throws IOException {
    zip("gerdaq_devel.xml.gz",
        "<?xml version='1.0' encoding='UTF-8'?>\n<dataset><instance>a &amp; <annotation rank_0_id=\"1\" "
            + "rank_0_score=\"1\" rank_0_title=\"Dune\">dune</annotation> x</instance>"
            + "<instance>none</instance></dataset>");
    assertThat(LinkedTexts.read(directory, "gerdaq-devel"))
        .containsExactly(new LinkedText("a & dune x", List.of(new Gold(4, 8, "Dune"))),
            new LinkedText("none", List.of()));
    zip("ConEL22_EL_Val.json.gz",
        "[{\"turns\":[{\"speaker\":\"SYSTEM\",\"utterance\":\"hi\"},{\"speaker\":\"USER\",\"utterance\":\"😀 Dune\","
            + "\"el_annotations\":[{\"mention\":\"Dune\",\"entity\":\"Dune_(film)\",\"span\":[2,6]}]}]}]");
    assertThat(LinkedTexts.read(directory, "conel-val"))
        .containsExactly(new LinkedText("😀 Dune", List.of(new Gold(3, 7, "Dune (film)"))));
    zip("ids.json.gz",
        "{\"/m/1\":{\"wikidata_id\":\"Q9\",\"wikipedia\":\"https://en.wikipedia.org/wiki/Caf%C3%A9_%2B_1\"},"
            + "\"/m/2\":{}}");
    assertThat(LinkedTexts.wikidataIds(directory.resolve("ids.json.gz"))).isEqualTo(Map.of("Café + 1", "Q9"));
  }

  private void zip(String name, String content) throws IOException {
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(directory.resolve(name)))) {
      out.write(content.getBytes(StandardCharsets.UTF_8));
    }
  }
}
