package dev.attune.llm;

import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cpu.CpuBackend;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.tokenizer.ModelTokenizer;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** Turns model files into a model that can run. */
final class ModelLoader {

  /** Digits of the hash that go into fingerprints. */
  private static final int HASH_DIGITS = 32;

  /**
   * A model whose parts are released together.
   *
   * @param sha256 of the files, as {@link Checkpoint#sha256} gives it
   * @param numerics what else decides about the numbers
   */
  record Loaded(ModelConfig config, ModelTokenizer tokenizer, CpuBackend backend, String sha256, String numerics)
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
   * @param place what {@link Checkpoint#open} takes
   * @throws NoSuchFileException when there is none
   * @throws ModelFileException when it cannot be used; the message says why
   */
  static Loaded load(Path place, KvPolicy policy, int threads) throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(place)) {
      // Weights first: without them the tokenizer's native memory would have to be given back.
      CpuBackend backend = CpuBackend.load(checkpoint, policy, threads);
      try {
        return new Loaded(checkpoint.config(), ModelTokenizer.of(checkpoint), backend, checkpoint.sha256(),
            "cpu-f32-" + policy);
      } catch (RuntimeException | IOException e) {
        backend.close();
        throw e;
      }
    }
  }
}
