package dev.attune.llm;

import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;

/** The default model, loaded once for all tests of a JVM. */
public final class TestModel {

  public static final Path FILE =
      Path.of(System.getProperty("user.home"), ".cache/attune/models/SmolLM2-135M-Instruct.Q4_1.gguf");

  private static final Map<String, LanguageModel> LOADED = new HashMap<>();

  private TestModel() {}

  /** The model with the default KV policy; skips the test, saying so, when its file is not there. */
  public static LanguageModel get() {
    return get("full+fp16");
  }

  /** The model with KV stored by {@code policy}. */
  public static synchronized LanguageModel get(String policy) {
    Assumptions.assumeTrue(Files.exists(FILE), "No model at " + FILE + "; fetch it with python3 models/fetch.py");
    return LOADED.computeIfAbsent(policy, p -> {
      try {
        return ModelLoader.load(FILE, KvPolicy.parse(p), Runtime.getRuntime().availableProcessors());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
  }
}
