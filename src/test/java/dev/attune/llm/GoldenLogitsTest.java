package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
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

  /** The second half of each text over what was kept of the first. */
  @Test
  void keptInFp16WhatWasReadChangesLittle() throws IOException {
    double fp16 = differenceOverKept("full+fp16");
    double bf16 = differenceOverKept("full+bf16");
    System.out.printf("largest difference over kept keys and values: fp16 %.2g, bf16 %.2g%n", fp16, bf16);
    assertThat(fp16).isLessThan(5 * TOLERANCE).isLessThan(bf16 / 3);
  }

  private static double differenceOverKept(String policy) throws IOException {
    LanguageModel model = TestModel.get(policy);
    int layers = model.config().layers();
    double worst = 0;
    for (Text text : golden().texts()) {
      int half = text.ids().length / 2;
      if (half == 0) {
        continue;
      }
      KvSegment kept = Objects.requireNonNull(model.backend().run(List.of(new Pass(
          Arrays.copyOf(text.ids(), half), 0, List.of(), layers, true, Logits.NONE, null))).getFirst().kv());
      int[] rest = Arrays.copyOfRange(text.ids(), half, text.ids().length);
      float[][] logits = model.backend().run(
          List.of(new Pass(rest, half, List.of(kept), layers, false, Logits.ALL, null))).getFirst().logits();
      for (int i = 0; i < logits.length; i++) {
        worst = Math.max(worst, difference(logits[i], text.topIds()[half + i], text.topLogits()[half + i]));
        worst = Math.max(worst, difference(logits[i], golden().probeIds(), text.probeLogits()[half + i]));
      }
    }
    return worst;
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
