package dev.attune.llm.lora;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelFileException;
import dev.attune.llm.safetensors.SafetensorsFile;
import dev.attune.llm.safetensors.SafetensorsTensor;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A low-rank change of some projections of some layers: {@code y = W x + B (A x)}.
 *
 * <p>Rows of B for queries and keys are in the half-split order of RoPE, as everywhere in this engine (GGUF files
 * permute them; adapters never do).
 */
public final class LoraAdapter {

  /**
   * The change of one projection.
   *
   * @param a {@code [rank, inputs]}
   * @param b {@code [outputs, rank]}, the scale of the adapter included
   */
  public record Factors(int rank, int inputs, int outputs, float[] a, float[] b) {}

  private static final Pattern KEY = Pattern.compile(
      "base_model\\.model\\.model\\.layers\\.(\\d{1,5})\\.([a-z_]+\\.[a-z_]+)\\.lora_([AB])(?:\\.default)?\\.weight");

  /** Settings of PEFT that would change the formula above: only these values leave it as it is. */
  private static final Map<String, Set<String>> PLAIN = Map.of(
      "use_dora", Set.of("false"),
      "fan_in_fan_out", Set.of("false"),
      "lora_bias", Set.of("false"),
      "bias", Set.of("none"),
      "modules_to_save", Set.of(""),
      "trainable_token_indices", Set.of(""),
      "alpha_pattern", Set.of("", "{}"),
      "layer_replication", Set.of(""));

  private final String name;
  private final String fingerprint;
  private final List<Map<Projection, Factors>> layers;

  private LoraAdapter(String name, String fingerprint, List<Map<Projection, Factors>> layers) {
    this.name = name;
    this.fingerprint = fingerprint;
    this.layers = layers;
  }

  /**
   * Reads an adapter for a model of this shape.
   *
   * @param name for messages
   * @param fingerprint hash of both files
   * @param configuration content of {@code adapter_config.json}
   * @throws ModelFileException when it is of another kind, or does not fit the model
   */
  static LoraAdapter read(
      String name, String fingerprint, byte[] configuration, SafetensorsFile weights, ModelConfig model) {
    JsonNode settings = settings(name, configuration);
    Map<Integer, Map<Projection, SafetensorsTensor[]>> pairs = new HashMap<>();
    for (SafetensorsTensor tensor : weights.tensors()) {
      Matcher key = KEY.matcher(tensor.name());
      Projection projection = key.matches() ? projection(key.group(2)) : null;
      if (projection == null) {
        throw weights.error("tensor '%s' is not a low-rank factor of a projection that this engine has"
            .formatted(tensor.name()));
      }
      pairs.computeIfAbsent(Integer.parseInt(key.group(1)), _ -> new EnumMap<>(Projection.class))
          .computeIfAbsent(projection, _ -> new SafetensorsTensor[2])[key.group(3).equals("A") ? 0 : 1] = tensor;
    }
    if (pairs.isEmpty()) {
      throw weights.error("holds no low-rank factors");
    }
    int last = pairs.keySet().stream().mapToInt(Integer::intValue).max().orElseThrow();
    if (last >= model.layers()) {
      throw weights.error("changes layer %d, but %s has %d layers".formatted(last, model.name(), model.layers()));
    }
    List<Map<Projection, Factors>> layers = new ArrayList<>();
    for (int layer = 0; layer < model.layers(); layer++) {
      Map<Projection, Factors> factors = new EnumMap<>(Projection.class);
      for (Map.Entry<Projection, SafetensorsTensor[]> pair : pairs.getOrDefault(layer, Map.of()).entrySet()) {
        factors.put(pair.getKey(), factors(weights, layer, pair.getKey(), pair.getValue(), settings, model));
      }
      layers.add(factors);
    }
    return new LoraAdapter(name, fingerprint, List.copyOf(layers));
  }

  private static Factors factors(
      SafetensorsFile file, int layer, Projection projection, SafetensorsTensor[] pair, JsonNode settings,
      ModelConfig model) {
    String where = "layer %d %s".formatted(layer, projection.module);
    if (pair[0] == null || pair[1] == null) {
      throw file.error(where + " has one of its two factors only");
    }
    int rank = pair[0].rows();
    int inputs = projection.inputs(model);
    int outputs = projection.outputs(model);
    if (pair[0].shape().length != 2 || pair[1].shape().length != 2 || pair[0].columns() != inputs
        || pair[1].rows() != outputs || pair[1].columns() != rank || rank > Math.min(inputs, outputs)) {
      throw file.error("%s: factors %s and %s do not fit the [%d, %d] of %s"
          .formatted(where, pair[0], pair[1], outputs, inputs, model.name()));
    }
    double alpha = settings.path("lora_alpha").asDouble(Double.NaN);
    boolean stabilised = settings.path("use_rslora").asBoolean(false);
    double scale = alpha / (stabilised ? Math.sqrt(rank) : rank);
    if (!Double.isFinite(scale)) {
      throw file.error("lora_alpha of adapter_config.json is " + settings.path("lora_alpha"));
    }
    float[] b = pair[1].values();
    for (int i = 0; i < b.length; i++) {
      b[i] = (float) (b[i] * scale);
    }
    return new Factors(rank, inputs, outputs, pair[0].values(), b);
  }

  private static JsonNode settings(String name, byte[] configuration) {
    JsonNode settings;
    try {
      settings = JsonMapper.shared().readTree(configuration);
    } catch (JacksonException e) {
      throw new ModelFileException(name + ": adapter_config.json is not JSON: " + e.getOriginalMessage(), e);
    }
    String type = settings.path("peft_type").asString("");
    if (!type.toUpperCase(Locale.ROOT).equals("LORA")) {
      throw new ModelFileException("%s: adapters of type '%s' are not supported (LORA is)".formatted(name, type));
    }
    for (Map.Entry<String, Set<String>> plain : PLAIN.entrySet()) {
      JsonNode value = settings.path(plain.getKey());
      String text =
          value.isValueNode() && !value.isNull() ? value.asString() : value.isContainer() ? value.toString() : "";
      if (!text.isEmpty() && !text.equals("[]") && !plain.getValue().contains(text)) {
        throw new ModelFileException("%s: %s = %s of adapter_config.json is not supported"
            .formatted(name, plain.getKey(), value));
      }
    }
    return settings;
  }

  private static @Nullable Projection projection(String module) {
    for (Projection projection : Projection.values()) {
      if (projection.module.equals(module)) {
        return projection;
      }
    }
    return null;
  }

  /** Name for messages. */
  public String name() {
    return name;
  }

  /** Identifies the adapter's numbers; part of the fingerprint of a model that runs with it. */
  public String fingerprint() {
    return fingerprint;
  }

  /** Layers of the model that it was read for. */
  public int layers() {
    return layers.size();
  }

  /** The change of a projection, or null when there is none. */
  public @Nullable Factors factors(int layer, Projection projection) {
    return layers.get(layer).get(projection);
  }
}
