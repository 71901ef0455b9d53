package dev.attune.llm.kv;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import org.junit.jupiter.api.Test;

class HeadScoresTest {

  private static int count(boolean[][] heads) {
    int count = 0;
    for (boolean[] layer : heads) {
      for (boolean head : layer) {
        count += head ? 1 : 0;
      }
    }
    return count;
  }

  @Test
  void takesTheBestByEchoAndThenByInduction() {
    HeadScores scores = new HeadScores("m", "f", "c",
        new float[][] {{0.1f, 0.9f}, {0, 0}, {0, 0}}, new float[][] {{0.3f, 0.2f}, {0.8f, 0.1f}, {0.4f, 0.5f}});
    assertThat(scores.retrievalHeads(0.5)).isDeepEqualTo(new boolean[][] {{false, true}, {true, false}, {false, true}});
    assertThat(count(scores.retrievalHeads(0))).isZero();
    assertThat(count(scores.retrievalHeads(1))).isEqualTo(6);
  }

  /** A repeated text shows heads that look back at it: in the default model some do so with most of their attention. */
  @Test
  void theDefaultModelHasRetrievalHeads() {
    LanguageModel model = TestModel.get();
    HeadScores stored = HeadScores.of(model.config());
    HeadScores measured = HeadCalibration.measure(model, 60, "test");
    boolean[][] heads = stored.retrievalHeads(0.15);
    assertThat(count(heads)).isEqualTo(Math.round(0.15f * model.config().layers() * model.config().kvHeads()));
    double chosen = 0;
    double others = 0;
    for (int layer = 0; layer < heads.length; layer++) {
      for (int head = 0; head < heads[layer].length; head++) {
        if (heads[layer][head]) {
          chosen += measured.induction()[layer][head] / count(heads);
        } else {
          others += measured.induction()[layer][head] / (90 - count(heads));
        }
      }
    }
    System.out.printf("induction of retrieval heads %.3f, of others %.3f%n", chosen, others);
    assertThat(chosen).isGreaterThan(4 * others);
  }
}
