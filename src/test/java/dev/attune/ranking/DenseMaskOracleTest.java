package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import dev.attune.llm.gguf.GgufFile;
import dev.attune.ranking.Ranker.RankCandidate;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The ranker gives what one dense-mask pass over the whole prompt gives. Few layers: the oracle is slow. */
class DenseMaskOracleTest {

  private static final List<String> TEXTS = RankingFixture.TEXTS.subList(0, 4);
  private static final String QUERY = "volcanic rock";

  @ParameterizedTest
  @ValueSource(strings = {"query", "query-end-and-answer"})
  void scoresEqualThoseOfADenseMask(String signals) throws IOException {
    LanguageModel model = TestModel.get("full+f32");
    Map<String, String> settings = Map.of("layer", "3", "signals", signals);
    List<RankCandidate> candidates = RankingFixture.candidates("oracle-" + signals, TEXTS);
    double[] scores = new RankingFixture(settings, model).rank(QUERY, candidates).scores();
    double[] expected = oracle(new BlockPrompt(model.tokenizer(), RankingFixture.properties(settings)), model);
    for (int i = 0; i < scores.length; i++) {
      assertThat(scores[i]).as("document %d", i).isCloseTo(expected[i], within(1e-4 * expected[i]));
    }
  }

  @Test
  void compressedKeysAndValuesOrderAListAsPlainOnesDo() {
    List<RankCandidate> candidates = RankingFixture.candidates("codec-", RankingFixture.TEXTS);
    double[] plain = new RankingFixture(Map.of(), TestModel.get("full+f32")).rank(QUERY, candidates).scores();
    double[] fp16 = new RankingFixture(Map.of(), TestModel.get("full+fp16")).rank(QUERY, candidates).scores();
    double[] bf16 = new RankingFixture(Map.of(), TestModel.get("full+bf16")).rank(QUERY, candidates).scores();
    assertThat(order(fp16)).isEqualTo(order(plain));
    assertThat(order(bf16)).isEqualTo(order(plain));
    double errorOfFp16 = error(fp16, plain);
    double errorOfBf16 = error(bf16, plain);
    System.out.printf("largest relative difference of a score: fp16 %.2g, bf16 %.2g%n", errorOfFp16, errorOfBf16);
    assertThat(errorOfFp16).isPositive().isLessThan(errorOfBf16 / 2);
  }

  private static double error(double[] scores, double[] exact) {
    return IntStream.range(0, scores.length).mapToDouble(i -> Math.abs(scores[i] - exact[i]) / exact[i]).max()
        .orElseThrow();
  }

  private static List<Integer> order(double[] scores) {
    return IntStream.range(0, scores.length).boxed().sorted((a, b) -> Double.compare(scores[b], scores[a])).toList();
  }

  /** Masks and positions straight from the definition of the blocks. */
  private static double[] oracle(BlockPrompt prompt, LanguageModel model) throws IOException {
    List<int[]> blocks = new ArrayList<>();
    blocks.add(prompt.instruction(QUERY));
    TEXTS.forEach(text -> blocks.add(prompt.document("", text)));
    BlockPrompt.LastBlock last = prompt.last(QUERY, List.of());
    blocks.add(last.tokens());
    int n = blocks.stream().mapToInt(block -> block.length).sum();
    int[] tokens = new int[n];
    int[] positions = new int[n];
    int[] blockOf = new int[n];
    int at = 0;
    for (int b = 0; b < blocks.size(); b++) {
      int start = b == 0 ? 0 : b == blocks.size() - 1 ? 2048 : blocks.getFirst().length;
      for (int i = 0; i < blocks.get(b).length; i++, at++) {
        tokens[at] = blocks.get(b)[i];
        positions[at] = start + i;
        blockOf[at] = b;
      }
    }
    int lastBlock = blocks.size() - 1;
    boolean[][] visible = new boolean[n][n];
    boolean[] scored = new boolean[n];
    for (int t = 0; t < n; t++) {
      scored[t] = blockOf[t] > 0 && blockOf[t] < lastBlock;
      for (int s = 0; s <= t; s++) {
        visible[t][s] = blockOf[t] == lastBlock || blockOf[s] == 0 || blockOf[s] == blockOf[t];
      }
    }
    int first = n - last.tokens().length;
    int[] rows = IntStream.of(last.signals()).map(i -> first + i).toArray();
    double[] mass;
    try (GgufFile file = GgufFile.open(TestModel.FILE)) {
      mass = new DenseMaskOracle(file, model.config()).attention(tokens, positions, visible, 3, rows, scored);
    }
    double[] perDocument = new double[TEXTS.size()];
    for (int t = 0; t < n; t++) {
      if (scored[t]) {
        perDocument[blockOf[t] - 1] += mass[t];
      }
    }
    return perDocument;
  }
}
