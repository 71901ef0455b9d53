package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The commands that compute from files alone, as a user calls them. */
class EvaluateCommandsTest {

  @TempDir private Path directory;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeEach
  void write() throws IOException {
    Files.write(directory.resolve("qrels.txt"), List.of("1 0 a 1", "1 0 b 2", "2 0 c 1"));
    Files.write(directory.resolve("good.run"), List.of("1 Q0 b 1 3.0 x", "1 Q0 a 2 2.0 x", "2 Q0 c 1 1.0 x"));
    Files.write(directory.resolve("half.run"), List.of("1 Q0 z 1 3.0 x", "1 Q0 b 2 2.0 x"));
  }

  private int execute(Object command, String... arguments) {
    return new CommandLine(command).setOut(new PrintWriter(out)).setErr(new PrintWriter(err)).execute(arguments);
  }

  private String file(String name) {
    return directory.resolve(name).toString();
  }

  @Test
  void runsAreMeasuredAndTheLaterOnesCompared() throws IOException {
    int code = execute(new RunCommand(), "--qrels", file("qrels.txt"), "--run",
        file("good.run") + "," + file("half.run"), "--per-query", file("queries.tsv"));
    assertThat(code).isZero();
    assertThat(out.toString())
        .contains("half.run answers 1 of 2 judged queries; the others score 0")
        .containsPattern("qrels.txt \\| good.run \\| 2 \\| 1.0000 ")
        // Query 1: (2 / log2(3)) / (2 + 1 / log2(3)) = 0.4796; query 2 is not answered.
        .containsPattern("qrels.txt \\| half.run \\| 2 \\| 0.2398 ");
    assertThat(Files.readAllLines(directory.resolve("queries.tsv")))
        .hasSize(5)
        .contains("good.run\t2\t1.0\t1.0\t1.0", "half.run\t2\t0.0\t0.0\t0.0");
  }

  @Test
  void filesThatAreNoRunsOrJudgmentsAreNamed() throws IOException {
    Files.write(directory.resolve("bad.run"), List.of("1 Q0 b"));
    Files.write(directory.resolve("empty.txt"), List.of());
    assertThat(execute(new RunCommand(), "--qrels", file("qrels.txt"), "--run", file("bad.run"))).isEqualTo(2);
    assertThat(err.toString()).contains("bad.run");
    assertThat(execute(new RunCommand(), "--qrels", file("empty.txt"), "--run", file("good.run"))).isEqualTo(2);
    assertThat(err.toString()).contains("empty.txt holds no judgments");
    assertThat(execute(new RunCommand(), "--qrels", file("none.txt"), "--run", file("good.run"))).isEqualTo(2);
    assertThat(err.toString()).contains("none.txt");
  }

  @Test
  void rungsThatDoNotExistAreNamedWithThoseThatDo() {
    Object command = new SuggestionsCommand(null, null, null, null, null, null, null);
    assertThat(execute(command, "--told", "history,stor")).isEqualTo(2);
    assertThat(err.toString()).contains("stor", "back-off", "other-user");
  }

  @Test
  void checkFailsWhereAResultMoved() throws IOException {
    MeasuredResult kept = MeasuredResult.bundled().values().stream()
        .filter(result -> result.name().equals("retrieval")).findFirst().orElseThrow();
    Path same = directory.resolve("retrieval.yml");
    Files.writeString(same, kept.yaml());
    assertThat(execute(new CheckCommand(), "--against", same.toString())).isZero();
    assertThat(out.toString()).contains("1 result compared, 0 differences");

    double ndcg = kept.rows().getFirst().figures().getOrDefault("ndcg10", 0.0);
    Files.writeString(same, kept.yaml().replaceFirst("(queries: \\d+, ndcg10: )[0-9.]+", "$1" + (ndcg + 0.01)));
    assertThat(execute(new CheckCommand(), "--against", same.toString())).isEqualTo(2);
    assertThat(out.toString()).contains("nDCG@10 moved from").contains("1 difference");

    assertThat(execute(new CheckCommand(), "nothing")).isEqualTo(2);
    assertThat(err.toString()).contains("There is no result 'nothing'").contains("retrieval");
  }
}
