package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.json.JsonMapper;

/**
 * The whole way from text to logits agrees with Hugging Face transformers in float32 on the same file; the expected
 * numbers were written by {@code training/golden_logits.py}.
 */
class GoldenLogitsTest {

  private static final double TOLERANCE = 1e-2;

  record Golden(int[] probeIds, List<Text> texts) {}

  record Text(
      String text, int[] ids, int[] plainIds, int[][] topIds, float[][] topLogits, float[][] probeLogits) {}

  static Golden golden() throws IOException {
    try (InputStream in = GoldenLogitsTest.class.getResourceAsStream("/golden/smollm2-135m-q4_1.json.gz")) {
      return JsonMapper.shared().readValue(new GZIPInputStream(in), Golden.class);
    }
  }

  @Test
  void logitsAgreeWithTransformers() throws IOException {
    LanguageModel model = TestModel.get();
    Golden golden = golden();
    double worst = 0;
    for (Text text : golden.texts()) {
      Pass pass = new Pass(text.ids(), 0, List.of(), model.config().layers(), false, Logits.ALL, null);
      float[][] logits = model.backend().run(List.of(pass)).getFirst().logits();
      assertThat(logits).hasDimensions(text.ids().length, model.config().vocabulary());
      for (int i = 0; i < logits.length; i++) {
        assertThat(argMax(logits[i])).as("top-1 at %d of '%s'", i, text.text()).isEqualTo(text.topIds()[i][0]);
        worst = Math.max(worst, difference(logits[i], text.topIds()[i], text.topLogits()[i]));
        worst = Math.max(worst, difference(logits[i], golden.probeIds(), text.probeLogits()[i]));
      }
    }
    System.out.printf("largest difference of a logit from transformers: %.2g%n", worst);
    assertThat(worst).isLessThan(TOLERANCE);
  }

  @Test
  void tokenIdsAgreeWithAnIndependentImplementation() throws IOException {
    Tokenizer tokenizer = TestModel.get().tokenizer();
    for (Text text : golden().texts()) {
      assertThat(tokenizer.encodeWithControls(text.text())).as(text.text()).isEqualTo(text.ids());
      assertThat(tokenizer.encode(text.text())).as(text.text()).isEqualTo(text.plainIds());
      assertThat(tokenizer.decode(tokenizer.encode(text.text()))).isEqualTo(text.text());
    }
  }

  private static double difference(float[] logits, int[] ids, float[] expected) {
    double worst = 0;
    for (int i = 0; i < ids.length; i++) {
      worst = Math.max(worst, Math.abs(logits[ids[i]] - expected[i]));
    }
    return worst;
  }

  static int argMax(float[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      if (values[i] > values[best]) {
        best = i;
      }
    }
    return best;
  }

  @Test
  void coversWhatItSays() throws IOException {
    Golden golden = golden();
    assertThat(golden.texts()).hasSize(10);
    assertThat(golden.probeIds()).hasSize(64).doesNotHaveDuplicates();
    assertThat(golden.texts().stream().mapToInt(t -> t.ids().length).sum()).isGreaterThan(400);
    assertThat(golden.texts()).allSatisfy(t -> assertThat(Arrays.asList(t.topIds())).hasSize(t.ids().length));
  }
}
