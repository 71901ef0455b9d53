package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Damaged and hostile model directories are refused with a message, whatever is wrong with them. */
@Timeout(300)
class HostileCheckpointTest {

  private static final Path CHECKPOINTS = Path.of("src/test/resources/checkpoints");

  @TempDir private Path directory;

  private Path copy(String name) throws IOException {
    try (Stream<Path> files = Files.list(CHECKPOINTS.resolve(name))) {
      for (Path file : files.filter(f -> !f.toString().endsWith(".gguf") && Files.isRegularFile(f)).toList()) {
        Files.copy(file, directory.resolve(file.getFileName()), StandardCopyOption.REPLACE_EXISTING);
      }
    }
    return directory;
  }

  private void load() throws IOException {
    ModelLoader.load(directory, KvPolicy.parse("full+f32"), 1).close();
  }

  private void assertRefused(String... message) {
    assertThatThrownBy(this::load).isInstanceOf(ModelFileException.class).hasMessageContainingAll(message);
  }

  private ObjectNode json(String file) throws IOException {
    return (ObjectNode) JsonMapper.shared().readTree(Files.readAllBytes(directory.resolve(file)));
  }

  private void write(String file, JsonNode content) throws IOException {
    Files.write(directory.resolve(file), JsonMapper.shared().writeValueAsBytes(content));
  }

  private void change(String key, Object value) throws IOException {
    ObjectNode config = json("config.json");
    config.set(key, JsonMapper.shared().valueToTree(value));
    write("config.json", config);
  }

  @Test
  void missingFilesAreNamed() throws IOException {
    copy("llama");
    load();
    Files.delete(directory.resolve("model-00003-of-00004.safetensors"));
    assertRefused("model-00003-of-00004.safetensors", "not completely downloaded");
    copy("llama");
    Files.delete(directory.resolve("tokenizer.json"));
    assertRefused("tokenizer.json: is missing");
    copy("llama");
    Files.delete(directory.resolve("config.json"));
    assertRefused("no config.json");
  }

  @Test
  void anIndexCannotLeadOut() throws IOException {
    copy("llama");
    ObjectNode index = json("model.safetensors.index.json");
    ((ObjectNode) index.path("weight_map")).put("lm_head.weight", "../../etc/passwd");
    write("model.safetensors.index.json", index);
    assertRefused("'../../etc/passwd' that cannot be a shard");
    Files.writeString(directory.resolve("model.safetensors.index.json"), "{");
    assertRefused("index.json is not JSON");
  }

  @Test
  void tensorsThatDoNotBelongAreNamed() throws IOException {
    copy("qwen2");
    change("model_type", "llama");
    assertRefused("'model.layers.0.self_attn.k_proj.bias' is not part of a llama");
    copy("qwen3");
    change("num_hidden_layers", 1);
    assertRefused("is not part of a qwen3 with 1 layers");
    copy("smollm2");
    change("tie_word_embeddings", false);
    assertRefused("'lm_head.weight' is missing");
    copy("smollm2");
    change("num_hidden_layers", 3);
    assertRefused("'model.layers.2", "is missing");
    copy("smollm2");
    change("intermediate_size", 25);
    assertRefused("should have shape [25, 16]");
  }

  @Test
  void whatCannotRunSaysWhy() throws IOException {
    Map<String, Map.Entry<Object, String>> changes = Map.of(
        "model_type", Map.entry("gemma3", "architecture 'gemma3' is not supported (llama, mistral, qwen2, qwen3 are)"),
        "hidden_act", Map.entry("gelu", "activation 'gelu'"),
        "quantization_config", Map.entry(Map.of("bits", 4), "quantised safetensors"),
        "mlp_bias", Map.entry(true, "feed-forward"),
        "attention_bias", Map.entry(true, "biases of attention"),
        "head_dim", Map.entry(12, "head size 12"),
        "num_key_value_heads", Map.entry(3, "4 query heads cannot share 3"),
        "max_position_embeddings", Map.entry(2_000_000_000, "shape is out of range"),
        "vocab_size", Map.entry(2_000_000_000, "shape is out of range"),
        "rope_parameters", Map.entry(Map.of("rope_type", "longrope", "factor", 2), "RoPE scaling 'longrope'"));
    for (Map.Entry<String, Map.Entry<Object, String>> change : changes.entrySet()) {
      copy("smollm2");
      change(change.getKey(), change.getValue().getKey());
      assertRefused(change.getValue().getValue());
    }
  }

  @Test
  void anyValueAnywhereInTheConfigurationIsRefusedOrHarmless() throws IOException {
    List<Object> hostile =
        List.of(0, -1, 1, 7, Integer.MAX_VALUE, 1L << 40, 1e300, "x", List.of(1), Map.of("a", 1), true);
    for (String name : List.of("smollm2", "qwen2")) {
      copy(name);
      for (String key : json("config.json").propertyNames()) {
        for (Object value : hostile) {
          copy(name);
          change(key, value);
          loadOrRefuse(name + " " + key + " = " + value);
        }
      }
      copy(name);
      for (String key : json("config.json").path("rope_parameters").propertyNames()) {
        for (Object value : hostile) {
          copy(name);
          ObjectNode config = json("config.json");
          ((ObjectNode) config.path("rope_parameters")).set(key, JsonMapper.shared().valueToTree(value));
          write("config.json", config);
          loadOrRefuse(name + " rope " + key + " = " + value);
        }
      }
    }
  }

  private void loadOrRefuse(String what) throws IOException {
    try {
      load();
    } catch (ModelFileException e) {
      assertThat(e.getMessage()).as(what).isNotBlank();
    } catch (RuntimeException | Error e) {
      throw new AssertionError(what, e);
    }
  }

  @Test
  void damagedTokenizersAreRefused() throws IOException {
    copy("smollm2");
    ObjectNode tokenizer = json("tokenizer.json");
    ((ObjectNode) tokenizer.path("model").path("vocab")).put("absurd", 100_000);
    write("tokenizer.json", tokenizer);
    assertRefused("token id 100000 is not in the model's vocabulary of 288");
    copy("smollm2");
    ((ObjectNode) tokenizer.path("model")).put("type", "WordPiece");
    write("tokenizer.json", tokenizer);
    assertRefused("'WordPiece' is not supported");
    Files.writeString(directory.resolve("tokenizer.json"), "{\"model\": {\"type\": \"BPE\", \"vocab\": {}}}");
    assertRefused("tokenizer.json");
    byte[] whole = Files.readAllBytes(CHECKPOINTS.resolve("smollm2/tokenizer.json"));
    Random random = new Random(4);
    for (int i = 0; i < 200; i++) {
      byte[] changed = whole.clone();
      changed[random.nextInt(changed.length)] = (byte) random.nextInt(128);
      Files.write(directory.resolve("tokenizer.json"), changed);
      loadOrRefuse("byte changed in attempt " + i);
    }
  }

  @Test
  void aTruncatedShardIsNamed() throws IOException {
    copy("llama");
    Path shard = directory.resolve("model-00002-of-00004.safetensors");
    byte[] whole = Files.readAllBytes(shard);
    Files.write(shard, Arrays.copyOf(whole, whole.length - 100));
    assertRefused("model-00002-of-00004.safetensors", "not completely downloaded");
  }
}
