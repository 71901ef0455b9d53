package dev.attune.llm;

import dev.attune.llm.gguf.GgufException;
import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.DisposableBean;

/** Loads the configured model on a thread of its own, so that the service answers before the model is there. */
final class BackgroundModels implements Models, DisposableBean {

  private static final Logger log = LoggerFactory.getLogger(BackgroundModels.class);

  private final LlmProperties properties;
  private final KvPolicy policy;
  private final Thread loader;
  private volatile Status status;
  private volatile ModelLoader.@Nullable Loaded model;
  private volatile boolean closed;

  BackgroundModels(LlmProperties properties) {
    this.properties = properties;
    // A misspelt policy is an error of configuration: it must stop the start, not leave the service without a model.
    this.policy = KvPolicy.parse(properties.kvPolicy());
    this.status = new Status(State.LOADING, properties.model(), null, null, "The model is being loaded; ask again soon");
    this.loader = Thread.ofPlatform().daemon().name("attune-llm-loader").unstarted(this::load);
  }

  /** Starts loading and returns. */
  BackgroundModels start() {
    loader.start();
    return this;
  }

  @Override
  public Optional<LanguageModel> current() {
    return Optional.ofNullable(model);
  }

  @Override
  public Status status() {
    return status;
  }

  private void load() {
    String source = properties.model();
    if (properties.backend() == LlmProperties.Backend.CUDA) {
      log.warn("attune.llm.backend=cuda, but this build has the CPU backend only; the CPU computes");
    }
    long start = System.nanoTime();
    try {
      Path place = Path.of(source.startsWith("~/") ? System.getProperty("user.home") + source.substring(1) : source);
      ModelLoader.Loaded loaded = ModelLoader.load(place, policy, properties.threadsOrCores());
      publish(loaded);
      log.info("Loaded {} ({} layers, {} MB of weights, {} threads, KV {}) in {} ms", loaded.config().name(),
          loaded.config().layers(), loaded.backend().weightBytes() >> 20, properties.threadsOrCores(), policy,
          Duration.ofNanos(System.nanoTime() - start).toMillis());
    } catch (NoSuchFileException e) {
      fail(State.MISSING, "There is no model at %s. Fetch the default model with `python3 models/fetch.py`, or set "
          .formatted(e.getFile()) + "attune.llm.model to a GGUF file; then restart. Until then results are not re-ranked");
    } catch (GgufException e) {
      fail(State.BROKEN, "The model cannot be used: " + e.getMessage()
          + ". Delete the file and fetch it again, or set attune.llm.model to another; then restart");
    } catch (IOException | RuntimeException | OutOfMemoryError | LinkageError e) {
      log.error("The model at {} could not be loaded", source, e);
      fail(State.BROKEN, "The model could not be loaded: " + e + ". The log has the details");
    }
  }

  private synchronized void publish(ModelLoader.Loaded loaded) {
    if (closed) {
      loaded.close();
      return;
    }
    model = loaded;
    status = new Status(State.READY, properties.model(), loaded.config().name(), loaded.backend().name(), null);
  }

  private void fail(State state, String message) {
    log.warn(message);
    status = new Status(state, properties.model(), null, null, message);
  }

  @Override
  public synchronized void destroy() {
    closed = true;
    ModelLoader.Loaded loaded = model;
    model = null;
    if (loaded != null) {
      loaded.close();
    }
  }
}
