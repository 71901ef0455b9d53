package dev.attune.llm;

import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cpu.CpuBackend;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.kv.HeadScores;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.tokenizer.ModelTokenizer;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/** Turns model files into a model that can run. */
final class ModelLoader {

  private static final Logger log = LoggerFactory.getLogger(ModelLoader.class);

  /** The smallest that leaves suggestions as they are at the length of the service's prompts; docs/benchmarks.md. */
  private static final KvPolicy CALIBRATED = KvPolicy.parse("razor(retrieval=0.15,sink=4,window=256)+fp16");

  /** Everything kept: what needs no calibration. */
  static final KvPolicy EVERYTHING = KvPolicy.parse("full+fp16");

  /** Enough to compile all kernels of the check. */
  private static final int CHECK_SECONDS = 120;

  /** Digits of the hash that go into fingerprints. */
  private static final int HASH_DIGITS = 32;

  /**
   * A model whose parts are released together.
   *
   * @param sha256 of the files, as {@link Checkpoint#sha256} gives it
   * @param numerics what else decides about the numbers
   */
  record Loaded(ModelConfig config, ModelTokenizer tokenizer, OwningBackend backend, String sha256, String numerics)
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

    /** The model for other calls, as {@link OwningBackend#beside} says. */
    LanguageModel beside() {
      InferenceBackend other = backend.beside();
      return other == backend ? this : new Adapted(config, tokenizer, other, fingerprint());
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

  /** Puts weights where they are computed with. */
  private interface BackendFactory {
    OwningBackend load(Checkpoint checkpoint) throws IOException;
  }

  /**
   * Loads a model on the CPU; takes a second or so for each 100 million weights.
   *
   * @param place what {@link Checkpoint#open} takes
   * @param policy null for razor where the model's retrieval heads are known, else everything
   * @throws NoSuchFileException when there is none
   * @throws ModelFileException when it cannot be used; the message says why
   */
  static Loaded load(Path place, @Nullable KvPolicy policy, int threads) throws IOException {
    return load(place,
        checkpoint -> CpuBackend.load(checkpoint, policy == null ? best(checkpoint.config()) : policy, threads));
  }

  private static KvPolicy best(ModelConfig config) {
    return HeadScores.calibrated(config) ? CALIBRATED : EVERYTHING;
  }

  /**
   * Loads a model on the GPU where the setting allows it and there is one that can run it, otherwise on the CPU. Where
   * {@code auto} finds no driver, that is nothing to tell; every other reason is told in a line.
   *
   * @param lost told once if the GPU fails in a way that ends its use
   */
  static Loaded load(
      Path place, LlmProperties properties, LlmProperties.Backend wanted, @Nullable KvPolicy policy,
      Consumer<CudaException> lost) throws IOException {
    if (wanted == LlmProperties.Backend.CUDA || wanted == LlmProperties.Backend.AUTO && CudaBackend.driverInstalled()) {
      try {
        return load(place, checkpoint -> {
          KvPolicy kept = policy == null ? best(checkpoint.config()) : policy;
          CudaBackend.Settings settings = new CudaBackend.Settings(kept,
              properties.gpuNumbers(), properties.gpuWeights() == LlmProperties.GpuWeights.FP8,
              properties.gpuMemory().toBytes(), properties.gpuHostMemory().toBytes(), CudaBackend.STREAMS,
              ModelPlaces.path(properties.gpuKernels()));
          // Before it has passed its check, a failure ends the loading, and nobody else is to hear of it.
          AtomicBoolean checked = new AtomicBoolean();
          CudaBackend backend = CudaBackend.load(checkpoint, settings, failure -> {
            if (checked.get()) {
              lost.accept(failure);
            }
          });
          verify(backend, checkpoint.config(), settings.fp8());
          backend.compileAhead();
          checked.set(true);
          log.info("The GPU computes: {}", backend.description());
          return backend;
        });
      } catch (CudaException e) {
        log.atLevel(wanted == LlmProperties.Backend.CUDA ? Level.WARN : Level.INFO)
            .log("The CPU computes, since the GPU cannot be used: {}", e.getMessage());
      }
    }
    return load(place, policy, properties.threadsOrCores());
  }

  private static void verify(CudaBackend backend, ModelConfig config, boolean fp8) {
    FutureTask<SelfCheck.Differences> check = new FutureTask<>(() -> SelfCheck.of(backend, config));
    Thread.ofPlatform().daemon().name("attune-llm-check").start(check);
    String failure;
    try {
      SelfCheck.Differences found = check.get(CHECK_SECONDS, TimeUnit.SECONDS);
      log.debug("Differences of the GPU's ways from reading at once: {}", found);
      failure = found.beyond(fp8 ? SelfCheck.LIMIT_FP8 : SelfCheck.LIMIT).orElse(null);
    } catch (TimeoutException e) {
      // Closing would wait for the device as well.
      throw new CudaException("It did not end its check within %d seconds".formatted(CHECK_SECONDS));
    } catch (ExecutionException e) {
      failure = e.getCause() instanceof CudaException cause ? cause.getMessage() : e.getCause().toString();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      failure = "it was interrupted";
    }
    if (failure != null) {
      backend.close();
      throw new CudaException("It failed its check: " + failure);
    }
  }

  private static Loaded load(Path place, BackendFactory factory) throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(place)) {
      // Weights first: without them the tokenizer's native memory would have to be given back.
      OwningBackend backend = factory.load(checkpoint);
      try {
        String numerics = backend instanceof CudaBackend cuda ? cuda.numerics() : "cpu-f32";
        return new Loaded(
            checkpoint.config(), ModelTokenizer.of(checkpoint), backend, checkpoint.sha256(),
            numerics + "-" + backend.kvPolicy());
      } catch (RuntimeException | IOException e) {
        backend.close();
        throw e;
      }
    }
  }
}
