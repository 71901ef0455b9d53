package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.attune.evaluation.RankingEvaluation.QueryResult;
import dev.attune.evaluation.RankingMetrics.Scored;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunFolderTest {

  private static final Map<String, String> SETTINGS = Map.of("data", "1", "candidates", "100");
  private static final List<Scored> RANKING = List.of(new Scored("a", 2), new Scored("b", 1));

  @TempDir Path directory;

  @Test
  void whatWasBrokenOffIsForgottenAndTheRestIsKept() throws IOException {
    RunFolder folder = new RunFolder(directory, "npl", SETTINGS);
    QueryResult result = new QueryResult(1.0 / 3, 1, 0.5, 2.5);
    folder.add("bm25", "q1", RANKING, result);
    String whole = Files.readString(directory.resolve("npl/bm25.run"));
    Files.writeString(directory.resolve("npl/bm25.run"), "q2 Q0 a 1 2.0 bm25\nq2 Q0", StandardOpenOption.APPEND);
    Files.writeString(directory.resolve("npl/bm25.tsv"), "q2\t0.5", StandardOpenOption.APPEND);

    RunFolder again = new RunFolder(directory, "npl", SETTINGS);
    assertThat(again.done("bm25")).isEqualTo(Map.of("q1", result));
    assertThat(again.done("hybrid")).isEmpty();
    assertThat(Files.readString(directory.resolve("npl/bm25.run"))).isEqualTo(whole);
    again.add("bm25", "q2", RANKING, result);
    assertThat(again.done("bm25")).containsOnlyKeys("q1", "q2");
    assertThat(TrecFiles.run(directory.resolve("npl/bm25.run"))).isEqualTo(Map.of("q1", RANKING, "q2", RANKING));
  }

  @Test
  void figuresOfOtherSettingsAreNotMixed() {
    RunFolder unused = new RunFolder(directory, "npl", SETTINGS);
    assertThat(unused.done("bm25")).isEmpty();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new RunFolder(directory, "npl", Map.of("data", "1", "candidates", "50")))
        .withMessageContaining("candidates 100, not 50");
  }
}
