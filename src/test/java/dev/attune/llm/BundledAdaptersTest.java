package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.LoraFiles;
import dev.attune.llm.lora.Projection;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.json.JsonMapper;

/** The adapters that come with this program fit the default model, and do in this engine what they did in training. */
class BundledAdaptersTest {

  record Golden(int[] prompt, int[] answer, String text) {}

  private static LoraAdapter bundled(ModelLoader.Loaded base, String folder) throws IOException {
    LoraFiles files = LoraFiles.classPath(BundledAdaptersTest.class.getClassLoader(), folder).orElseThrow();
    assertThat(files.bases()).isNotNull();
    return files.adapter(base.config(), base.sha256());
  }

  @Test
  void rankingChangesNoLayerAboveTheScoringOne() throws IOException {
    LoraAdapter adapter = bundled((ModelLoader.Loaded) TestModel.get(), "models/ranking");
    for (int layer = 0; layer < adapter.layers(); layer++) {
      LoraAdapter read = adapter;
      int index = layer;
      assertThat(Arrays.stream(Projection.values()).anyMatch(p -> read.factors(index, p) != null))
          .isEqualTo(layer <= 18);
    }
  }

  /** Expected tokens: {@code training/golden_suggestions.py}. */
  @Test
  void suggestionGoesOnAsInTraining() throws IOException {
    ModelLoader.Loaded base = (ModelLoader.Loaded) TestModel.get();
    LanguageModel adapted = base.with(bundled(base, "models/suggestion"));
    List<Golden> expected;
    try (InputStream in = BundledAdaptersTest.class.getResourceAsStream("/golden/suggestions.json")) {
      expected = List.of(JsonMapper.shared().readValue(in, Golden[].class));
    }
    assertThat(expected).isNotEmpty();
    for (Golden golden : expected) {
      float[][] logits = logits(adapted, golden);
      assertThat(Arrays.stream(logits).mapToInt(GoldenLogitsTest::argMax).toArray()).as(golden.text())
          .isEqualTo(golden.answer());
      assertThat(Arrays.deepEquals(logits, logits(base, golden))).as("the adapter changes nothing").isFalse();
    }
  }

  /** Logits at each place of the answer. */
  private static float[][] logits(LanguageModel model, Golden golden) {
    int[] tokens = IntStream.concat(Arrays.stream(golden.prompt()), Arrays.stream(golden.answer())).toArray();
    Pass pass = new Pass(tokens, 0, List.of(), model.config().layers(), false, Logits.ALL, null);
    float[][] logits = model.backend().run(List.of(pass)).getFirst().logits();
    int first = golden.prompt().length - 1;
    return Arrays.copyOfRange(logits, first, first + golden.answer().length);
  }
}
