package dev.attune.llm;

import dev.attune.llm.cpu.CpuBackend;
import dev.attune.llm.gguf.GgufFile;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.tokenizer.ByteLevelTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;

/** Turns a model file into a model that can run. */
final class ModelLoader {

  private static final String ARCHITECTURE = "llama";
  /** Digits of the hash that go into fingerprints. */
  private static final int HASH_DIGITS = 32;

  /**
   * A model whose parts are released together.
   *
   * @param sha256 of the file, in hex
   * @param numerics what else decides about the numbers
   */
  record Loaded(ModelConfig config, ByteLevelTokenizer tokenizer, CpuBackend backend, String sha256, String numerics)
      implements LanguageModel, AutoCloseable {

    @Override
    public String fingerprint() {
      return sha256.substring(0, HASH_DIGITS) + "-" + numerics;
    }

    /** The model with an adapter over the same weights; lives as long as this one. */
    LanguageModel with(LoraAdapter adapter) {
      return new Adapted(config, tokenizer, backend.with(adapter),
          sha256.substring(0, HASH_DIGITS) + "+" + adapter.fingerprint() + "-" + numerics);
    }

    @Override
    public void close() {
      backend.close();
      tokenizer.close();
    }
  }

  private record Adapted(ModelConfig config, Tokenizer tokenizer, InferenceBackend backend, String fingerprint)
      implements LanguageModel {}

  private ModelLoader() {}

  /**
   * Loads a model on the CPU; takes a second or so for each 100 million weights.
   *
   * @param place GGUF file, or directory that holds exactly one
   * @throws NoSuchFileException when there is none
   * @throws ModelFileException when the file cannot be used; the message says why
   */
  static Loaded load(Path place, KvPolicy policy, int threads) throws IOException {
    try (GgufFile file = GgufFile.open(locate(place))) {
      ModelConfig config = configOf(file);
      // Weights first: without them the tokenizer's native memory would have to be given back.
      CpuBackend backend = CpuBackend.load(file, config, policy, threads);
      try {
        ByteLevelTokenizer tokenizer = ByteLevelTokenizer.of(file);
        return new Loaded(config, tokenizer, backend, sha256(file), "cpu-f32-" + policy);
      } catch (RuntimeException e) {
        backend.close();
        throw e;
      }
    }
  }

  private static Path locate(Path place) throws IOException {
    if (!Files.isDirectory(place)) {
      if (!Files.exists(place)) {
        throw new NoSuchFileException(place.toString());
      }
      return place;
    }
    try (Stream<Path> files = Files.list(place)) {
      List<Path> models = files.filter(file -> file.toString().endsWith(".gguf")).sorted().toList();
      if (models.size() > 1) {
        throw new ModelFileException("%s holds %d GGUF files; name one of them".formatted(place, models.size()));
      }
      if (models.isEmpty()) {
        throw new NoSuchFileException(place + "/*.gguf");
      }
      return models.getFirst();
    }
  }

  private static ModelConfig configOf(GgufFile file) {
    String architecture = file.text("general.architecture");
    if (!architecture.equals(ARCHITECTURE)) {
      throw file.error("architecture '" + architecture + "' is not supported (" + ARCHITECTURE + " is)");
    }
    int hidden = positive(file, "embedding_length");
    int heads = positive(file, "attention.head_count");
    int kvHeads = file.integer(key("attention.head_count_kv"), heads);
    int headSize = file.integer(key("attention.key_length"), hidden / heads);
    if (kvHeads < 1 || heads % kvHeads != 0) {
      throw file.error("%d query heads cannot share %d key/value heads".formatted(heads, kvHeads));
    }
    // Rotary halves and the tiles of attention.
    if (headSize < 8 || headSize % 8 != 0) {
      throw file.error("head size " + headSize + " is not supported (multiples of 8 are)");
    }
    if (file.integer(key("attention.value_length"), headSize) != headSize
        || file.integer(key("rope.dimension_count"), headSize) != headSize) {
      throw file.error("value heads or rotations of another width than the head size are not supported");
    }
    if (file.has(key("rope.scaling.type")) && !file.text(key("rope.scaling.type")).equals("none")) {
      throw file.error("RoPE scaling '" + file.text(key("rope.scaling.type")) + "' is not supported");
    }
    if (file.integer(key("expert_count"), 0) > 0) {
      throw file.error("mixture-of-experts models are not supported");
    }
    double epsilon = file.number(key("attention.layer_norm_rms_epsilon"));
    double theta = file.number(key("rope.freq_base"), 10_000);
    if (!(epsilon > 0 && epsilon < 1) || !(theta > 1)) {
      throw file.error("RMSNorm epsilon %s or RoPE base %s is out of range".formatted(epsilon, theta));
    }
    int vocabulary = file.texts("tokenizer.ggml.tokens").size();
    String name = file.has("general.name") ? file.text("general.name") : "unnamed";
    return new ModelConfig(architecture, name, positive(file, "block_count"), hidden, heads, kvHeads, headSize,
        positive(file, "feed_forward_length"), vocabulary, positive(file, "context_length"), theta, epsilon);
  }

  private static String key(String name) {
    return ARCHITECTURE + "." + name;
  }

  private static int positive(GgufFile file, String name) {
    int value = file.integer(key(name));
    if (value < 1) {
      throw file.error("metadata '" + key(name) + "' is " + value);
    }
    return value;
  }

  private static String sha256(GgufFile file) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      long size = file.bytes().byteSize();
      int piece = 1 << 24;
      for (long at = 0; at < size; at += piece) {
        digest.update(file.bytes().asSlice(at, Math.min(piece, size - at)).asByteBuffer());
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java platform has SHA-256", e);
    }
  }
}
