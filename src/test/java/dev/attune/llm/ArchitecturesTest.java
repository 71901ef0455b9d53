package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraFiles;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.json.JsonMapper;

/**
 * Tiny checkpoints of every architecture give the logits and the token ids of Hugging Face transformers; files and
 * expected numbers were written by {@code training/golden_architectures.py}.
 */
class ArchitecturesTest {

  private static final double TOLERANCE = 1e-4;
  private static final Path CHECKPOINTS = Path.of("src/test/resources/checkpoints");

  record Text(String text, int[] ids) {}

  record Golden(List<Text> texts, int[] ids, int[] starts, float[][][] logits, float @Nullable [][][] adapted) {}

  private static Golden golden(String name) throws IOException {
    try (InputStream in = Files.newInputStream(CHECKPOINTS.resolve(name).resolve("golden.json.gz"))) {
      return JsonMapper.shared().readValue(new GZIPInputStream(in), Golden.class);
    }
  }

  private static ModelLoader.Loaded load(Path place) throws IOException {
    return ModelLoader.load(place, KvPolicy.parse("full+f32"), 2);
  }

  @ParameterizedTest
  @ValueSource(strings = {
    "smollm2/model.safetensors", "llama/model.safetensors.index.json", "mistral/model.safetensors",
    "qwen2/model.safetensors", "qwen3/model.safetensors", "llama/llama.gguf", "mistral/mistral.gguf",
    "qwen2/qwen2.gguf", "qwen3/qwen3.gguf"
  })
  void agreesWithTransformers(String file) throws IOException {
    String name = file.substring(0, file.indexOf('/'));
    Golden golden = golden(name);
    try (ModelLoader.Loaded model = load(CHECKPOINTS.resolve(file))) {
      double worst = difference(model, golden, golden.logits());
      System.out.printf("%s: largest difference of a logit %.2g%n", file, worst);
      assertThat(worst).isLessThan(TOLERANCE);
      for (Text text : golden.texts()) {
        assertThat(model.tokenizer().encode(text.text())).as(text.text()).isEqualTo(text.ids());
        assertThat(model.tokenizer().decode(text.ids()).stripLeading()).isEqualTo(text.text());
        for (int id : text.ids()) {
          assertThat(model.tokenizer().isControl(id)).isFalse();
        }
      }
      assertThat(model.tokenizer().endOfTurn()).isEqualTo(2);
      assertThat(model.tokenizer().vocabularySize()).isEqualTo(model.config().vocabulary());
    }
  }

  /** Also in two steps: what was kept of the first tokens, then the rest over it. */
  private static double difference(LanguageModel model, Golden golden, float[][][] expected) {
    double worst = 0;
    int layers = model.config().layers();
    int[] ids = golden.ids();
    int cut = ids.length - 5;
    for (int i = 0; i < golden.starts().length; i++) {
      int start = golden.starts()[i];
      float[][] whole = model.backend()
          .run(List.of(new Pass(ids, start, List.of(), layers, false, Logits.ALL, null))).getFirst().logits();
      PassResult first = model.backend().run(List.of(
          new Pass(Arrays.copyOf(ids, cut), start, List.of(), layers, true, Logits.NONE, null))).getFirst();
      assertThat(first.kv()).isNotNull();
      float[][] rest = model.backend().run(List.of(new Pass(Arrays.copyOfRange(ids, cut, ids.length), start + cut,
          List.of(first.kv()), layers, false, Logits.ALL, null))).getFirst().logits();
      for (int row = 0; row < expected[i].length; row++) {
        for (int token = 0; token < expected[i][row].length; token++) {
          float want = expected[i][row][token];
          worst = Math.max(worst, Math.abs(want - whole[whole.length - expected[i].length + row][token]));
          worst = Math.max(worst, Math.abs(want - rest[rest.length - expected[i].length + row][token]));
        }
      }
    }
    return worst;
  }

  /** Whoever closes one of two, the other goes on; also after the file's name has gone to another. */
  @ParameterizedTest
  @ValueSource(strings = {"smollm2/model.safetensors", "llama/model.safetensors.index.json", "llama/llama.gguf"})
  void isOpenedAgain(String file, @TempDir Path directory) throws IOException {
    Path original = CHECKPOINTS.resolve(file);
    try (Stream<Path> all = Files.list(original.getParent())) {
      for (Path each : all.filter(Files::isRegularFile).toList()) {
        Files.copy(each, directory.resolve(each.getFileName()));
      }
    }
    Checkpoint again;
    float[] expected;
    try (Checkpoint first = Checkpoint.open(directory.resolve(original.getFileName()))) {
      again = first.again();
      assertThat(again.config()).isEqualTo(first.config());
      assertThat(again.files()).isEqualTo(first.files());
      assertThat(again.sha256()).isEqualTo(first.sha256());
      expected = down(first);
    }
    try (again) {
      Path large = again.files().getLast();
      Files.move(Files.write(directory.resolve("other"), new byte[100]), large, StandardCopyOption.REPLACE_EXISTING);
      assertThat(down(again)).isEqualTo(expected);
    }
  }

  private static float[] down(Checkpoint checkpoint) {
    ModelConfig config = checkpoint.config();
    float[] row = new float[config.feedForward()];
    checkpoint.tensor("blk.%d.ffn_down.weight".formatted(config.layers() - 1), config.hidden(), row.length)
        .row(config.hidden() - 1, row, 0);
    return row;
  }

  @Test
  void adapterMadeByPeft() throws IOException {
    Golden golden = golden("smollm2");
    try (ModelLoader.Loaded model = load(CHECKPOINTS.resolve("smollm2"))) {
      LanguageModel adapted = model.with(
          LoraFiles.directory(CHECKPOINTS.resolve("smollm2/adapter")).adapter(model.config(), model.sha256()));
      assertThat(golden.adapted()).isNotNull();
      assertThat(difference(adapted, golden, golden.adapted())).isLessThan(TOLERANCE);
      assertThat(difference(model, golden, golden.adapted())).isGreaterThan(0.1);
    }
  }

  @Test
  void shapesAreRead() throws IOException {
    try (ModelLoader.Loaded model = load(CHECKPOINTS.resolve("mistral/model.safetensors"))) {
      assertThat(model.config().context()).as("within the sliding window").isEqualTo(512);
      assertThat(model.config().headSize()).isEqualTo(8);
    }
    try (ModelLoader.Loaded model = load(CHECKPOINTS.resolve("qwen2/model.safetensors"))) {
      assertThat(model.config().ropeScaling().toString()).startsWith("yarn");
      assertThat(model.config().ropeScaling().attentionFactor()).isGreaterThan(1.1);
    }
  }
}
