package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.LoraFiles;
import dev.attune.llm.lora.Projection;
import dev.attune.llm.safetensors.SafetensorsFile;
import dev.attune.llm.safetensors.SafetensorsTensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;

/** An adapter applied beside the weights gives what the weights with the adapter merged in give. */
class AdapterTest {

  private static final int LAYERS = 3;
  private static final int HIDDEN = 40;
  private static final int HEADS = 6;
  private static final int KV_HEADS = 2;
  private static final int HEAD_SIZE = 16;
  private static final int FEED_FORWARD = 56;
  private static final double ALPHA = 6;

  private static final Map<String, String> GGUF_NAMES = Map.of(
      "self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k", "self_attn.v_proj", "attn_v", "self_attn.o_proj",
      "attn_output", "mlp.gate_proj", "ffn_gate", "mlp.up_proj", "ffn_up", "mlp.down_proj", "ffn_down");

  @TempDir private Path directory;

  private static TinyGguf tiny() {
    return TinyGguf.model(9, LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FEED_FORWARD, true);
  }

  private ModelLoader.Loaded load(TinyGguf file) throws IOException {
    Path path = Files.write(Files.createTempFile(directory, "tiny", ".gguf"), file.bytes());
    return ModelLoader.load(path, KvPolicy.parse("full+f32"), 2);
  }

  private static String key(int layer, String module, char factor) {
    return "base_model.model.model.layers.%d.%s.lora_%c.weight".formatted(layer, module, factor);
  }

  private static SafetensorsBytes factors(ModelConfig config, int rank, Map<Integer, List<Projection>> changed) {
    Random random = new Random(5);
    SafetensorsBytes file = new SafetensorsBytes();
    changed.forEach((layer, projections) -> projections.forEach(p -> {
      file.random(key(layer, module(p), 'A'), random, 0.2, rank, p.inputs(config));
      file.random(key(layer, module(p), 'B'), random, 0.2, p.outputs(config), rank);
    }));
    return file;
  }

  private static String module(Projection projection) {
    return switch (projection) {
      case QUERY -> "self_attn.q_proj";
      case KEY -> "self_attn.k_proj";
      case VALUE -> "self_attn.v_proj";
      case ATTENTION_OUTPUT -> "self_attn.o_proj";
      case GATE -> "mlp.gate_proj";
      case UP -> "mlp.up_proj";
      case DOWN -> "mlp.down_proj";
    };
  }

  private static byte[] settings(Map<String, Object> more) {
    Map<String, Object> settings = new HashMap<>(Map.of("peft_type", "LORA", "lora_alpha", ALPHA, "r", 4));
    settings.putAll(more);
    return JsonMapper.shared().writeValueAsBytes(settings);
  }

  private static LoraAdapter adapter(ModelLoader.Loaded model, byte[] weights) {
    return new LoraFiles("test", settings(Map.of()), weights, null).adapter(model.config(), model.sha256());
  }

  /** Writes W + scale B A into the file, undoing its order of query and key rows. */
  private static void merge(TinyGguf file, byte[] weights, double scale) {
    SafetensorsFile factors = SafetensorsFile.of("test", weights);
    for (SafetensorsTensor a : factors.tensors()) {
      if (!a.name().contains("lora_A")) {
        continue;
      }
      SafetensorsTensor b = factors.find(a.name().replace("lora_A", "lora_B"));
      String[] parts = a.name().split("\\.");
      String module = parts[5] + "." + parts[6];
      TinyGguf.Tensor target =
          file.tensors.get("blk.%s.%s.weight".formatted(parts[4], GGUF_NAMES.get(module)));
      ByteBuffer data = ByteBuffer.wrap(target.data()).order(ByteOrder.LITTLE_ENDIAN);
      float[] left = b.values();
      float[] right = a.values();
      boolean permuted = module.equals("self_attn.q_proj") || module.equals("self_attn.k_proj");
      for (int row = 0; row < b.rows(); row++) {
        int inHead = row % HEAD_SIZE;
        int half = HEAD_SIZE / 2;
        int stored = permuted ? row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1) : row;
        for (int column = 0; column < a.columns(); column++) {
          double sum = 0;
          for (int r = 0; r < a.rows(); r++) {
            sum += (double) left[row * a.rows() + r] * right[r * a.columns() + column];
          }
          int at = 4 * (stored * a.columns() + column);
          data.putFloat(at, (float) (data.getFloat(at) + scale * sum));
        }
      }
    }
  }

  private static final int[] DOCUMENT = IntStream.range(0, 37).map(i -> 3 + i * 7 % 250).toArray();
  private static final int[] OTHER = IntStream.range(0, 20).map(i -> 3 + i * 11 % 250).toArray();
  private static final int[] QUERY = {5, 80, 41, 9, 200};

  private static float[][] logits(LanguageModel model) {
    return model.backend().run(List.of(new Pass(DOCUMENT, 2, List.of(), LAYERS, false, Logits.ALL, null)))
        .getFirst().logits();
  }

  /** Masses of two documents at layer 2, read apart. */
  private static float[] masses(LanguageModel model) {
    List<KvSegment> context = new ArrayList<>();
    model.backend()
        .run(List.of(new Pass(DOCUMENT, 0, List.of(), 2, true, Logits.NONE, null),
            new Pass(OTHER, 0, List.of(), 2, true, Logits.NONE, null)))
        .forEach(result -> context.add(result.kv()));
    return model.backend()
        .run(List.of(new Pass(
            QUERY, 60, context, 2, false, Logits.NONE, new Probe(new int[] {1, 4}, new int[] {0, 1}))))
        .getFirst().attention();
  }

  private void assertEqualToMerged(int rank, Map<Integer, List<Projection>> changed) throws IOException {
    TinyGguf merged = tiny();
    try (ModelLoader.Loaded base = load(tiny())) {
      byte[] weights = factors(base.config(), rank, changed).bytes();
      merge(merged, weights, ALPHA / rank);
      LanguageModel adapted = base.with(adapter(base, weights));
      try (ModelLoader.Loaded expected = load(merged)) {
        float[][] want = logits(expected);
        float[][] got = logits(adapted);
        float[][] without = logits(base);
        double worst = 0;
        double change = 0;
        for (int i = 0; i < want.length; i++) {
          for (int j = 0; j < want[i].length; j++) {
            worst = Math.max(worst, Math.abs(want[i][j] - got[i][j]));
            change = Math.max(change, Math.abs(want[i][j] - without[i][j]));
          }
        }
        assertThat(worst).isLessThan(1e-4);
        assertThat(change).isGreaterThan(0.1);
        assertThat(masses(adapted)).containsExactly(masses(expected), within(1e-5f));
        assertThat(logits(adapted)).as("deterministic").isDeepEqualTo(got);
        assertThat(adapted.fingerprint()).isNotEqualTo(base.fingerprint()).startsWith(base.sha256().substring(0, 32));
      }
    }
  }

  @Test
  void allProjectionsOfAllLayers() throws IOException {
    List<Projection> all = List.of(Projection.values());
    assertEqualToMerged(4, Map.of(0, all, 1, all, 2, all));
  }

  @Test
  void rankAboveOnePanel() throws IOException {
    assertEqualToMerged(19, Map.of(1, List.of(Projection.KEY, Projection.GATE, Projection.DOWN)));
  }

  @Test
  void someProjectionsOfSomeLayers() throws IOException {
    assertEqualToMerged(3, Map.of(0, List.of(Projection.VALUE, Projection.UP), 2, List.of(Projection.QUERY)));
  }

  @Test
  void batchDoesNotChangeARow() throws IOException {
    try (ModelLoader.Loaded base = load(tiny())) {
      byte[] weights = factors(base.config(), 4, Map.of(0, List.of(Projection.values()))).bytes();
      InferenceBackend backend = base.with(adapter(base, weights)).backend();
      Pass one = new Pass(DOCUMENT, 0, List.of(), LAYERS, false, Logits.ALL, null);
      Pass two = new Pass(OTHER, 0, List.of(), LAYERS, false, Logits.ALL, null);
      assertThat(backend.run(List.of(two, one)).getLast().logits())
          .isDeepEqualTo(backend.run(List.of(one)).getFirst().logits());
    }
  }

  @Test
  void rankStabilisedScale() throws IOException {
    try (ModelLoader.Loaded base = load(tiny())) {
      byte[] weights = factors(base.config(), 4, Map.of(0, List.of(Projection.QUERY))).bytes();
      ModelConfig config = base.config();
      float[] plain = adapter(base, weights).factors(0, Projection.QUERY).b();
      float[] stabilised = new LoraFiles("test", settings(Map.of("use_rslora", true)), weights, null)
          .adapter(config, "").factors(0, Projection.QUERY).b();
      assertThat(stabilised[7]).isCloseTo(2 * plain[7], within(1e-6f));
    }
  }

  @Test
  void adaptersThatDoNotFitAreRefused() throws IOException {
    try (ModelLoader.Loaded base = load(tiny())) {
      ModelConfig config = base.config();
      Map<Integer, List<Projection>> query = Map.of(0, List.of(Projection.QUERY));
      byte[] right = factors(config, 4, query).bytes();
      assertThat(adapter(base, right).factors(0, Projection.QUERY)).isNotNull();
      assertThat(adapter(base, right).factors(0, Projection.KEY)).isNull();

      assertRefused(base, settings(Map.of("peft_type", "IA3")), right, "adapters of type 'IA3'");
      assertRefused(base, settings(Map.of("use_dora", true)), right, "use_dora = true");
      assertRefused(base, settings(Map.of("modules_to_save", List.of("lm_head"))), right, "modules_to_save");
      assertRefused(base, settings(Map.of("alpha_pattern", Map.of("q_proj", 2))), right, "alpha_pattern");
      assertRefused(base, settings(Map.of("lora_alpha", "much")), right, "lora_alpha");
      assertRefused(base, "{".getBytes(StandardCharsets.UTF_8), right, "adapter_config.json is not JSON");
      Random random = new Random(1);
      String a = key(0, "self_attn.q_proj", 'A');
      String b = key(0, "self_attn.q_proj", 'B');
      assertRefused(base, file -> file.random(a, random, 1, 4, HIDDEN), "one of its two factors");
      assertRefused(base, file -> file.random(a, random, 1, 4, 41).random(b, random, 1, 96, 4),
          "do not fit the [96, 40]");
      assertRefused(base, file -> file.random(a, random, 1, 4, 40).random(b, random, 1, 96, 5), "do not fit");
      assertRefused(base, file -> file.random("base_model.model.lm_head.lora_A.weight", random, 1, 4, 40),
          "'base_model.model.lm_head.lora_A.weight' is not a low-rank factor");
      assertRefused(base, file -> file.random(a.replace(".0.", ".3."), random, 1, 4, 40),
          "changes layer 3, but tiny has 3");
      assertRefused(base, file -> {}, "holds no low-rank factors");
      assertThatThrownBy(() -> new LoraFiles("test", settings(Map.of()), right, "abc  other.gguf\n")
          .adapter(config, base.sha256())).hasMessageContaining("trained for another model");
      assertThat(new LoraFiles("test", settings(Map.of()), right, base.sha256() + "  tiny.gguf\n")
          .adapter(config, base.sha256()).layers()).isEqualTo(LAYERS);
    }
  }

  private static void assertRefused(ModelLoader.Loaded base, Consumer<SafetensorsBytes> content, String message) {
    SafetensorsBytes file = new SafetensorsBytes();
    content.accept(file);
    assertRefused(base, settings(Map.of()), file.bytes(), message);
  }

  private static void assertRefused(ModelLoader.Loaded base, byte[] settings, byte[] weights, String message) {
    assertThatThrownBy(() -> new LoraFiles("test", settings, weights, null).adapter(base.config(), base.sha256()))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining(message);
  }
}
