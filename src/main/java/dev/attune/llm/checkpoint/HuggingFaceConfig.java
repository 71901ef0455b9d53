package dev.attune.llm.checkpoint;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelFileException;
import dev.attune.llm.RopeScaling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Reads {@code config.json}, as written by any version of Hugging Face transformers. */
final class HuggingFaceConfig {

  private static final long MAX_BYTES = 1 << 20;

  private final Path path;
  private final JsonNode json;
  final Architecture architecture;

  HuggingFaceConfig(Path path) throws IOException {
    this.path = path;
    if (Files.size(path) > MAX_BYTES) {
      throw error("is too large for a configuration: " + Files.size(path) + " bytes");
    }
    try {
      this.json = JsonMapper.shared().readTree(Files.readAllBytes(path));
    } catch (JacksonException e) {
      throw error("is not JSON: " + e.getOriginalMessage());
    }
    this.architecture = Architecture.of(json.path("model_type").asString(""), this::error);
  }

  boolean tied() {
    return json.path("tie_word_embeddings").asBoolean(false);
  }

  ModelConfig read() {
    refuse("quantization_config", "quantised safetensors are not supported (f32, f16 and bf16 are)");
    refuse("mlp_bias", "biases of the feed-forward layers are not supported");
    if (architecture != Architecture.QWEN2) {
      refuse("attention_bias", "biases of attention are not supported in this architecture");
    }
    String activation = json.path("hidden_act").asString("silu");
    if (!activation.equals("silu")) {
      throw error("activation '" + activation + "' is not supported (silu is)");
    }
    int hidden = positive("hidden_size");
    int heads = positive("num_attention_heads");
    int kvHeads = has("num_key_value_heads") ? positive("num_key_value_heads") : heads;
    int headSize = has("head_dim") ? positive("head_dim") : hidden / heads;
    Architecture.checkHeadSize(headSize, this::error);
    int context = positive("max_position_embeddings");
    // transformers 5 keeps everything about RoPE in one object, earlier versions in two places.
    JsonNode rope = json.path(has("rope_parameters") ? "rope_parameters" : "rope_scaling");
    double theta = number(rope.has("rope_theta") ? rope : json, "rope_theta", 10_000);
    if (number(rope, "partial_rotary_factor", number(json, "partial_rotary_factor", 1)) != 1) {
      throw error("partly rotated heads are not supported");
    }
    String name = json.path("_name_or_path").asString("");
    Path directory = path.toAbsolutePath().getParent();
    return Architecture.check(
        new ModelConfig(architecture.id(), name.isEmpty() && directory != null ? directory.getFileName() + "" : name,
            positive("num_hidden_layers"), hidden, heads, kvHeads, headSize, positive("intermediate_size"),
            positive("vocab_size"), window(context), theta, scaling(rope, theta, headSize, context),
            number(json, "rms_norm_eps", 1e-6)),
        this::error);
  }

  /** Beyond its window a model with sliding attention would see more than it was trained to. */
  private int window(int context) {
    boolean slides = has("sliding_window") && json.path("use_sliding_window").asBoolean(true);
    return slides ? Math.min(context, positive("sliding_window")) : context;
  }

  private RopeScaling scaling(JsonNode rope, double theta, int headSize, int context) {
    String type = rope.path("rope_type").asString(rope.path("type").asString("default"));
    double factor = number(rope, "factor", Double.NaN);
    int original = (int) number(rope, "original_max_position_embeddings",
        number(json, "original_max_position_embeddings", context));
    if (type.equals("default")) {
      return RopeScaling.NONE;
    }
    if (type.equals("yarn") && Double.isNaN(factor)) {
      factor = (double) context / original;
    }
    if (!(factor > 0) || original < 1) {
      throw error("RoPE scaling " + rope + " is out of range");
    }
    return switch (type) {
      case "linear" -> RopeScaling.linear(factor, headSize);
      case "llama3" -> RopeScaling.llama3(
          factor, number(rope, "low_freq_factor", 1), number(rope, "high_freq_factor", 4), original, theta, headSize);
      case "yarn" -> RopeScaling.yarn(factor, yarnAttention(rope, factor), orElse(number(rope, "beta_fast", 32), 32),
          orElse(number(rope, "beta_slow", 1), 1), rope.path("truncate").asBoolean(true), original, theta, headSize);
      default -> throw error("RoPE scaling '" + type + "' is not supported (linear, llama3 and yarn are)");
    };
  }

  private double yarnAttention(JsonNode rope, double factor) {
    double scale = number(rope, "mscale", 0);
    double scaleAll = number(rope, "mscale_all_dim", 0);
    double inferred = scale != 0 && scaleAll != 0
        ? RopeScaling.yarnAttention(factor, scale) / RopeScaling.yarnAttention(factor, scaleAll)
        : RopeScaling.yarnAttention(factor, 1);
    return number(rope, "attention_factor", inferred);
  }

  private static double orElse(double value, double orElse) {
    return value == 0 ? orElse : value;
  }

  private boolean has(String name) {
    return json.has(name) && !json.path(name).isNull();
  }

  private void refuse(String name, String message) {
    JsonNode value = json.path(name);
    if (!value.isMissingNode() && !value.isNull() && !(value.isBoolean() && !value.booleanValue())) {
      throw error(message);
    }
  }

  private int positive(String name) {
    JsonNode value = json.path(name);
    if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 1) {
      throw error("'%s' is %s".formatted(name, value.isMissingNode() ? "missing" : value));
    }
    return value.intValue();
  }

  private double number(JsonNode node, String name, double orElse) {
    JsonNode value = node.path(name);
    if (value.isMissingNode() || value.isNull()) {
      return orElse;
    }
    if (!value.isNumber()) {
      throw error("'%s' is %s".formatted(name, value));
    }
    return value.doubleValue();
  }

  private ModelFileException error(String what) {
    return new ModelFileException(path.getFileName() + ": " + what);
  }
}
