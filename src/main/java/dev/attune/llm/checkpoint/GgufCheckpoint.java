package dev.attune.llm.checkpoint;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.RopeScaling;
import dev.attune.llm.gguf.GgufFile;
import dev.attune.llm.gguf.GgufTensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;

/** One GGUF file. */
public final class GgufCheckpoint implements Checkpoint {

  private static final Pattern KNOWN = Pattern.compile(
      "(token_embd|output|output_norm|rope_freqs)\\.weight|blk\\.\\d+\\.(attn_norm|attn_q|attn_k|attn_v|attn_output|"
          + "attn_q_norm|attn_k_norm|ffn_norm|ffn_gate|ffn_up|ffn_down)\\.weight|blk\\.\\d+\\.attn_[qkv]\\.bias");

  private final Path path;
  private final GgufFile file;
  private final Architecture architecture;
  private final ModelConfig config;

  private GgufCheckpoint(Path path, GgufFile file) {
    this.path = path;
    this.file = file;
    this.architecture = Architecture.of(file.text("general.architecture"), file::error);
    this.config = Architecture.check(read(), file::error);
    for (GgufTensor tensor : file.tensors()) {
      if (!KNOWN.matcher(tensor.name()).matches()) {
        throw file.error("tensor '%s' is not part of the architecture %s".formatted(tensor.name(), architecture.id()));
      }
    }
    if (has("blk.0.attn_q.bias") != architecture.bias || has("blk.0.attn_q_norm.weight") != architecture.headNorm) {
      throw file.error("its biases or norms are not those of the architecture " + architecture.id());
    }
  }

  static GgufCheckpoint open(Path path) throws IOException {
    GgufFile file = GgufFile.open(path);
    try {
      return new GgufCheckpoint(path, file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /** The file, for its tokenizer. */
  public GgufFile file() {
    return file;
  }

  @Override
  public String format() {
    return "GGUF";
  }

  @Override
  public ModelConfig config() {
    return config;
  }

  @Override
  public boolean has(String name) {
    return file.hasTensor(name);
  }

  @Override
  public GgufTensor tensor(String name, int rows, int columns) {
    return file.tensor(name, rows, columns);
  }

  @Override
  public Collection<GgufTensor> tensors() {
    return file.tensors();
  }

  /** llama.cpp permutes the rows of Llama (and Mistral, which it calls llama) only. */
  @Override
  public boolean interleavedRotation() {
    return architecture == Architecture.LLAMA;
  }

  @Override
  public List<Path> files() {
    return List.of(path);
  }

  @Override
  public Checkpoint again() throws IOException {
    return open(path);
  }

  @Override
  public void close() {
    file.close();
  }

  private ModelConfig read() {
    int hidden = positive("embedding_length");
    int heads = positive("attention.head_count");
    int headSize = file.integer(key("attention.key_length"), hidden / heads);
    Architecture.checkHeadSize(headSize, file::error);
    if (file.integer(key("attention.value_length"), headSize) != headSize
        || file.integer(key("rope.dimension_count"), headSize) != headSize) {
      throw file.error("value heads or rotations of another width than the head size are not supported");
    }
    if (file.integer(key("expert_count"), 0) > 0) {
      throw file.error("mixture-of-experts models are not supported");
    }
    double theta = file.number(key("rope.freq_base"), 10_000);
    int context = positive("context_length");
    // Beyond its window a model with sliding attention would see more than it was trained to.
    int window = file.integer(key("attention.sliding_window"), 0);
    return new ModelConfig(architecture.id(), file.has("general.name") ? file.text("general.name") : "unnamed",
        positive("block_count"), hidden, heads, file.integer(key("attention.head_count_kv"), heads), headSize,
        positive("feed_forward_length"), file.texts("tokenizer.ggml.tokens").size(),
        window > 0 ? Math.min(context, window) : context, theta, scaling(theta, headSize, context),
        file.number(key("attention.layer_norm_rms_epsilon")));
  }

  private RopeScaling scaling(double theta, int headSize, int context) {
    String type = file.has(key("rope.scaling.type")) ? file.text(key("rope.scaling.type")) : "none";
    double factor = file.number(key("rope.scaling.factor"), 1);
    if (!(factor > 0)) {
      throw file.error("RoPE scaling factor " + factor + " is out of range");
    }
    if (file.hasTensor("rope_freqs.weight")) {
      float[] divisors = new float[headSize / 2];
      file.tensor("rope_freqs.weight", 1, divisors.length).row(0, divisors, 0);
      return RopeScaling.listed(divisors);
    }
    return switch (type) {
      case "none" -> RopeScaling.NONE;
      case "linear" -> RopeScaling.linear(factor, headSize);
      case "yarn" -> RopeScaling.yarn(factor,
          RopeScaling.yarnAttention(factor, 1) * file.number(key("rope.scaling.attn_factor"), 1),
          file.number(key("rope.scaling.yarn_beta_fast"), 32), file.number(key("rope.scaling.yarn_beta_slow"), 1), true,
          file.integer(key("rope.scaling.original_context_length"), context), theta, headSize);
      default -> throw file.error("RoPE scaling '" + type + "' is not supported (none, linear and yarn are)");
    };
  }

  private String key(String name) {
    return architecture.id() + "." + name;
  }

  private int positive(String name) {
    int value = file.integer(key(name));
    if (value < 1) {
      throw file.error("metadata '" + key(name) + "' is " + value);
    }
    return value;
  }
}
