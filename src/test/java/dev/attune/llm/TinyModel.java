package dev.attune.llm;

import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A small random model, loaded from a file like any other. */
public final class TinyModel implements AutoCloseable {

  private static final TinyModel SHARED = of(4, 3, 40, 6, 2, 16, 56, true, "full+f32", 2);

  private final TinyGguf file;
  private final ModelLoader.Loaded model;

  private TinyModel(TinyGguf file, ModelLoader.Loaded model) {
    this.file = file;
    this.model = model;
  }

  /** Three layers, two threads, KV in f32. */
  public static TinyModel shared() {
    return SHARED;
  }

  static TinyModel of(
      long seed, int layers, int hidden, int heads, int kvHeads, int headSize, int feedForward, boolean tied,
      String policy, int threads) {
    TinyGguf file = TinyGguf.model(seed, layers, hidden, heads, kvHeads, headSize, feedForward, tied);
    try {
      Path path = Files.createTempFile("tiny", ".gguf");
      Files.write(path, file.bytes());
      ModelLoader.Loaded model = ModelLoader.load(path, KvPolicy.parse(policy), threads);
      Files.delete(path);
      return new TinyModel(file, model);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  TinyGguf file() {
    return file;
  }

  public LanguageModel model() {
    return model;
  }

  public ModelConfig config() {
    return model.config();
  }

  public InferenceBackend backend() {
    return model.backend();
  }

  @Override
  public void close() {
    model.close();
  }
}
