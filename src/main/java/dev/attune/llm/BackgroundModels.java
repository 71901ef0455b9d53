package dev.attune.llm;

import dev.attune.llm.LlmProperties.Adapters;
import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.kv.KvCache;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.LoraFiles;
import dev.attune.llm.scheduling.Scheduler;
import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.DisposableBean;

/** Loads the configured model on a thread of its own, so that the service answers before the model is there. */
final class BackgroundModels implements Models, DisposableBean {

  private static final Logger log = LoggerFactory.getLogger(BackgroundModels.class);

  /** A model whose backend is shared by all requests. */
  private record Shared(LanguageModel model, InferenceBackend backend) implements LanguageModel {
    @Override
    public ModelConfig config() {
      return model.config();
    }

    @Override
    public Tokenizer tokenizer() {
      return model.tokenizer();
    }

    @Override
    public String fingerprint() {
      return model.fingerprint();
    }
  }

  /** Where models come from; a test's own in tests. */
  @FunctionalInterface
  interface Loader {

    /** As {@link ModelLoader#load(Path, LlmProperties, LlmProperties.Backend, KvPolicy, Consumer)}. */
    ModelLoader.Loaded load(Path place, LlmProperties.Backend backend, Consumer<CudaException> lost) throws IOException;
  }

  private final LlmProperties properties;
  private final Loader source;
  private final Scheduler scheduler;
  private final ModelPlaces places;
  private final Thread loader;
  private volatile Status status;
  private ModelLoader.@Nullable Loaded base;
  private volatile Map<ModelRole, LanguageModel> models = Map.of();
  private volatile boolean closed;

  BackgroundModels(LlmProperties properties, Scheduler scheduler) {
    this(properties, scheduler, null);
  }

  BackgroundModels(LlmProperties properties, Scheduler scheduler, @Nullable Loader source) {
    this.properties = properties;
    this.scheduler = scheduler;
    // A misspelt policy is an error of configuration: it must stop the start, not leave the service without a model.
    KvPolicy policy = properties.kvPolicy().equals(LlmProperties.AUTO) ? null : KvPolicy.parse(properties.kvPolicy());
    this.source = source != null ? source
        : (place, backend, lost) -> ModelLoader.load(place, properties, backend, policy, lost);
    this.places = new ModelPlaces(properties);
    this.status = new Status(State.LOADING, properties.model(), null, null,
        "The model is being loaded; ask again soon", List.of());
    this.loader = Thread.ofPlatform().daemon().name("attune-llm-loader").unstarted(() -> load(properties.backend()));
  }

  /** Starts loading and returns. */
  BackgroundModels start() {
    loader.start();
    return this;
  }

  @Override
  public Optional<LanguageModel> current(ModelRole role) {
    return Optional.ofNullable(models.get(role));
  }

  @Override
  public Status status() {
    return status;
  }

  private void load(LlmProperties.Backend backend) {
    String model = properties.model();
    long start = System.nanoTime();
    try {
      ModelLoader.Loaded loaded = source.load(places.fetched(model, this::downloading), backend, this::lost);
      adapt(loaded);
      log.info("Loaded {} ({}, {} layers, {} MB of weights, {} threads, KV {}) in {} ms", loaded.config().name(),
          loaded.backend().name(), loaded.config().layers(), loaded.backend().weightBytes() >> 20,
          properties.threadsOrCores(), loaded.backend().kvPolicy(),
          Duration.ofNanos(System.nanoTime() - start).toMillis());
    } catch (NoSuchFileException e) {
      fail(State.MISSING, "There is no model at %s. Fetch the default model with `python3 models/fetch.py`, or set "
          .formatted(e.getFile()) + "attune.llm.model to a model; then restart. Until then results are not re-ranked");
    } catch (ModelFileException e) {
      fail(State.BROKEN, "The model cannot be used: " + e.getMessage()
          + ". Fetch it again, or set attune.llm.model to another; then restart");
    } catch (CudaException e) {
      log.warn("The CPU computes, since the GPU failed: {}", e.getMessage());
      load(LlmProperties.Backend.CPU);
    } catch (IOException | RuntimeException | OutOfMemoryError | LinkageError e) {
      if (closed) {
        return;
      }
      log.error("The model at {} could not be loaded", model, e);
      fail(State.BROKEN, "The model could not be loaded: " + e + ". The log has the details");
    }
  }

  /** Requests go without the model until it is on the CPU. */
  private synchronized void lost(CudaException failure) {
    if (closed || base == null) {
      // While loading, the failure itself ends the loading.
      return;
    }
    log.warn("The GPU failed, and the model is being loaded on the CPU: {}", failure.getMessage());
    models = Map.of();
    status = new Status(State.LOADING, properties.model(), null, null,
        "The GPU failed; the model is being loaded on the CPU", List.of());
    Thread.ofPlatform().daemon().name("attune-llm-loader").start(() -> load(LlmProperties.Backend.CPU));
  }

  private void downloading(String file, long bytes, long ofBytes) {
    status = new Status(State.LOADING, properties.model(), null, null,
        "The model is being downloaded (%s, %d of %d MB); ask again soon".formatted(file, bytes >> 20, ofBytes >> 20),
        List.of());
  }

  private void adapt(ModelLoader.Loaded loaded) {
    Map<ModelRole, LanguageModel> adapted = new EnumMap<>(ModelRole.class);
    List<Adapter> adapters = new ArrayList<>();
    try {
      // A policy that needs a calibration this model lacks: said now, not at the first request.
      KvCache.of(loaded, List.of());
      for (ModelRole role : ModelRole.values()) {
        adapters.add(adapt(role, loaded, adapted));
      }
    } catch (RuntimeException | Error e) {
      loaded.close();
      throw e;
    }
    publish(loaded, adapted, List.copyOf(adapters));
  }

  /** An adapter that cannot be used costs its role the adapter, not the model. */
  private Adapter adapt(ModelRole role, ModelLoader.Loaded loaded, Map<ModelRole, LanguageModel> adapted) {
    String source = properties.adapters().of(role);
    adapted.put(role, loaded);
    try {
      Optional<LoraFiles> files = filesOf(role, source);
      if (files.isEmpty()) {
        adapted.put(role, loaded.beside());
        return new Adapter(role, source, false, source.equals(Adapters.NONE) ? "Switched off" : "None is bundled");
      }
      LoraAdapter adapter = files.get().adapter(loaded.config(), loaded.sha256());
      adapted.put(role, loaded.with(adapter));
      log.info("Adapter {} ({}) is used for {}", adapter.name(), adapter.fingerprint(), role);
      return new Adapter(role, source, true, null);
    } catch (NoSuchFileException e) {
      return refuse(role, source, "There is no adapter at " + e.getFile());
    } catch (ModelFileException e) {
      return refuse(role, source, String.valueOf(e.getMessage()));
    } catch (IOException | InvalidPathException e) {
      return refuse(role, source, e.toString());
    }
  }

  private static Optional<LoraFiles> filesOf(ModelRole role, String source) throws IOException {
    return switch (source) {
      case Adapters.NONE -> Optional.empty();
      case Adapters.BUNDLED -> LoraFiles.classPath(
          BackgroundModels.class.getClassLoader(), "models/" + role.name().toLowerCase(Locale.ROOT));
      default -> Optional.of(LoraFiles.directory(ModelPlaces.path(source)));
    };
  }

  private static Adapter refuse(ModelRole role, String source, String message) {
    log.warn("The adapter for {} is not used: {}", role, message);
    return new Adapter(role, source, false, message);
  }

  private synchronized void publish(
      ModelLoader.Loaded loaded, Map<ModelRole, LanguageModel> adapted, List<Adapter> adapters) {
    if (closed) {
      loaded.close();
      return;
    }
    ModelLoader.Loaded before = base;
    base = loaded;
    adapted.replaceAll((role, model) -> new Shared(model, scheduled(role, model.backend())));
    models = Map.copyOf(adapted);
    status =
        new Status(State.READY, properties.model(), loaded.config().name(), loaded.backend().name(), null, adapters);
    if (before != null) {
      before.close();
    }
  }

  /**
   * Steps of suggestions share work when they run as one batch. Rankings share less: several run at a time, each with
   * what waited.
   */
  private InferenceBackend scheduled(ModelRole role, InferenceBackend backend) {
    int atOnce = backend.callsAtOnce();
    return atOnce == 1 ? scheduler.schedule(backend)
        : scheduler.schedule(backend, role == ModelRole.RANKING ? atOnce : 1);
  }

  private void fail(State state, String message) {
    log.warn(message);
    status = new Status(state, properties.model(), null, null, message, List.of());
  }

  @Override
  public synchronized void destroy() {
    closed = true;
    loader.interrupt();
    ModelLoader.Loaded loaded = base;
    base = null;
    models = Map.of();
    if (loaded != null) {
      loaded.close();
    }
  }
}
