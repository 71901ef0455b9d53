package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.attune.evaluation.RankingMetrics.Scored;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrecFilesTest {

  @TempDir Path folder;

  @Test
  void judgmentsOfTrecAndOfBeirAreTheSame() throws IOException {
    Path trec = Files.writeString(
        folder.resolve("a.qrels"), "q1 0 d1 2\nq1\t0\td2\t0\n\nq2 Q0 d 3 1\n".replace("d 3", "d3"));
    Path beir =
        Files.writeString(folder.resolve("b.tsv"), "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n");
    Map<String, Map<String, Integer>> expected = Map.of("q1", Map.of("d1", 2, "d2", 0), "q2", Map.of("d3", 1));
    assertThat(TrecFiles.qrels(trec)).isEqualTo(expected);
    assertThat(TrecFiles.qrels(beir)).isEqualTo(expected);
  }

  @Test
  void aRunThatIsWrittenIsReadAsItWas() throws IOException {
    List<Scored> ranking = List.of(new Scored("a", 0.1 + 0.2), new Scored("b", 0.3), new Scored("c", 1e-9));
    StringWriter out = new StringWriter();
    TrecFiles.write(out, "7", ranking, "tag");
    assertThat(out.toString().lines().findFirst()).contains("7 Q0 a 1 0.30000000000000004 tag");
    Path file = Files.writeString(folder.resolve("x.run"), out.toString());
    assertThat(TrecFiles.run(file)).isEqualTo(Map.of("7", ranking));
  }

  @Test
  void namesTheLineThatIsWrong() throws IOException {
    Path file = Files.writeString(folder.resolve("x.run"), "7 Q0 a 1 0.3 tag\n7 Q0 b 2 high tag\n");
    assertThatIllegalArgumentException().isThrownBy(() -> TrecFiles.run(file)).withMessageContaining("line 2");
    Path judgments = Files.writeString(folder.resolve("x.qrels"), "7 0 a b 1\n");
    assertThatIllegalArgumentException().isThrownBy(() -> TrecFiles.qrels(judgments)).withMessageContaining("line 1");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TrecFiles.run(folder.resolve("none")))
        .withMessageContaining("none");
  }
}
