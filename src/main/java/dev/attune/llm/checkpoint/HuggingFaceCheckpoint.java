package dev.attune.llm.checkpoint;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelFileException;
import dev.attune.llm.safetensors.SafetensorsFile;
import dev.attune.llm.safetensors.SafetensorsTensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A directory with {@code config.json} and safetensors. */
public final class HuggingFaceCheckpoint implements Checkpoint {

  private static final String INDEX = "model.safetensors.index.json";
  private static final Pattern LAYER = Pattern.compile("blk\\.(\\d+)\\.(\\w+)\\.(weight|bias)");
  private static final Pattern IGNORED = Pattern.compile(".*\\.rotary_emb\\.inv_freq");

  /** GGUF's names of what a layer has, and Hugging Face's. */
  private static final Map<String, String> MODULES = Map.ofEntries(
      Map.entry("attn_norm", "input_layernorm"),
      Map.entry("attn_q", "self_attn.q_proj"),
      Map.entry("attn_k", "self_attn.k_proj"),
      Map.entry("attn_v", "self_attn.v_proj"),
      Map.entry("attn_output", "self_attn.o_proj"),
      Map.entry("attn_q_norm", "self_attn.q_norm"),
      Map.entry("attn_k_norm", "self_attn.k_norm"),
      Map.entry("ffn_norm", "post_attention_layernorm"),
      Map.entry("ffn_gate", "mlp.gate_proj"),
      Map.entry("ffn_up", "mlp.up_proj"),
      Map.entry("ffn_down", "mlp.down_proj"));

  private final Path directory;
  private final ModelConfig config;
  private final boolean tied;
  private final List<Path> files = new ArrayList<>();
  private final List<SafetensorsFile> shards = new ArrayList<>();
  private final Map<String, SafetensorsTensor> tensors = new LinkedHashMap<>();

  private HuggingFaceCheckpoint(Path directory, HuggingFaceConfig settings) {
    this.directory = directory;
    this.config = settings.read();
    this.tied = settings.tied();
    files.add(directory.resolve("config.json"));
  }

  /**
   * Opens a directory.
   *
   * @param only the weights' file, or empty to look for it
   */
  static HuggingFaceCheckpoint open(Path directory, List<Path> only) throws IOException {
    Path configuration = directory.resolve("config.json");
    if (!Files.exists(configuration)) {
      throw new ModelFileException(directory + " holds safetensors but no config.json");
    }
    HuggingFaceConfig settings = new HuggingFaceConfig(configuration);
    HuggingFaceCheckpoint checkpoint = new HuggingFaceCheckpoint(directory, settings);
    try {
      for (Path shard : only.isEmpty() ? shards(directory) : only) {
        checkpoint.add(shard);
      }
      checkpoint.check(settings.architecture);
      return checkpoint;
    } catch (IOException | RuntimeException e) {
      checkpoint.close();
      throw e;
    }
  }

  private static List<Path> shards(Path directory) throws IOException {
    Path index = directory.resolve(INDEX);
    if (Files.exists(index)) {
      return indexed(directory, index);
    }
    Path whole = directory.resolve("model.safetensors");
    if (Files.exists(whole)) {
      return List.of(whole);
    }
    try (Stream<Path> all = Files.list(directory)) {
      List<Path> found = all.filter(file -> file.toString().endsWith(".safetensors")).sorted().toList();
      if (found.size() != 1) {
        throw new ModelFileException(
            "%s holds %d safetensors files but no %s".formatted(directory, found.size(), INDEX));
      }
      return found;
    }
  }

  private static List<Path> indexed(Path directory, Path index) throws IOException {
    JsonNode map;
    try {
      map = JsonMapper.shared().readTree(Files.readAllBytes(index)).path("weight_map");
    } catch (JacksonException e) {
      throw new ModelFileException(INDEX + " is not JSON: " + e.getOriginalMessage(), e);
    }
    TreeSet<String> names = new TreeSet<>();
    map.properties().forEach(entry -> names.add(entry.getValue().asString("")));
    List<Path> shards = new ArrayList<>();
    for (String name : names) {
      if (!name.matches("[\\w.-]+\\.safetensors")) {
        throw new ModelFileException("%s names a file '%s' that cannot be a shard".formatted(INDEX, name));
      }
      Path shard = directory.resolve(name);
      if (!Files.exists(shard)) {
        throw new ModelFileException("%s names %s, which is not there; the model is not completely downloaded"
            .formatted(INDEX, name));
      }
      shards.add(shard);
    }
    if (shards.isEmpty()) {
      throw new ModelFileException(INDEX + " names no files");
    }
    return shards;
  }

  @SuppressWarnings("MustBeClosedChecker") // closed with the checkpoint
  private void add(Path path) throws IOException {
    SafetensorsFile shard = SafetensorsFile.open(path);
    shards.add(shard);
    files.add(path);
    for (SafetensorsTensor tensor : shard.tensors()) {
      if (tensors.put(tensor.name(), tensor) != null) {
        throw shard.error("tensor '" + tensor.name() + "' is in another shard too");
      }
    }
  }

  private void check(Architecture architecture) {
    TreeSet<String> left = new TreeSet<>(tensors.keySet());
    List.of("token_embd.weight", "output.weight", "output_norm.weight").forEach(name -> left.remove(nameOf(name)));
    for (int i = 0; i < config.layers(); i++) {
      for (String module : MODULES.keySet()) {
        left.remove(nameOf("blk.%d.%s.weight".formatted(i, module)));
      }
      for (String module : architecture.bias ? List.of("attn_q", "attn_k", "attn_v") : List.<String>of()) {
        left.remove(nameOf("blk.%d.%s.bias".formatted(i, module)));
      }
    }
    left.removeIf(name -> IGNORED.matcher(name).matches());
    if (!left.isEmpty()) {
      throw error("tensor '%s' is not part of a %s with %d layers".formatted(left.first(), architecture.id(),
          config.layers()));
    }
    if (has("blk.0.attn_q.bias") != architecture.bias || has("blk.0.attn_q_norm.weight") != architecture.headNorm) {
      throw error("its biases or norms are not those of the architecture " + architecture.id());
    }
    if (!tied && !has("output.weight")) {
      throw error("'lm_head.weight' is missing, and config.json does not tie it to the embeddings");
    }
  }

  private static String nameOf(String name) {
    switch (name) {
      case "token_embd.weight":
        return "model.embed_tokens.weight";
      case "output.weight":
        return "lm_head.weight";
      case "output_norm.weight":
        return "model.norm.weight";
      default:
        Matcher layer = LAYER.matcher(name);
        String module = layer.matches() ? MODULES.get(layer.group(2)) : null;
        return module == null ? name : "model.layers.%s.%s.%s".formatted(layer.group(1), module, layer.group(3));
    }
  }

  /** Where the tokenizer's files are. */
  public Path directory() {
    return directory;
  }

  @Override
  public String format() {
    return "safetensors";
  }

  @Override
  public ModelConfig config() {
    return config;
  }

  /** Tied weights of the head may be stored twice; the embedding's are the ones that count. */
  @Override
  public boolean has(String name) {
    return !(tied && name.equals("output.weight")) && tensors.containsKey(nameOf(name));
  }

  @Override
  public SafetensorsTensor tensor(String name, int rows, int columns) {
    SafetensorsTensor tensor = tensors.get(nameOf(name));
    if (tensor == null) {
      throw error("tensor '" + nameOf(name) + "' is missing");
    }
    if (tensor.rows() != rows || tensor.columns() != columns) {
      throw error("tensor %s should have shape [%d, %d]".formatted(tensor, rows, columns));
    }
    return tensor;
  }

  @Override
  public Collection<SafetensorsTensor> tensors() {
    return Collections.unmodifiableCollection(tensors.values());
  }

  @Override
  public boolean interleavedRotation() {
    return false;
  }

  @Override
  public List<Path> files() {
    return Collections.unmodifiableList(files);
  }

  @Override
  public Checkpoint again() throws IOException {
    return open(directory, files.subList(1, files.size()));
  }

  @Override
  public void close() {
    shards.forEach(SafetensorsFile::close);
  }

  private ModelFileException error(String what) {
    return new ModelFileException(directory.getFileName() + ": " + what);
  }
}
