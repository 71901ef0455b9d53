package dev.attune.llm;

import dev.attune.llm.hub.Hub;
import dev.attune.llm.hub.HubModel;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;

/** From the name of a model, as settings and commands write it, to files on this machine. */
final class ModelPlaces {

  private static final Duration PAUSE = Duration.ofSeconds(1);

  private final LlmProperties properties;

  ModelPlaces(LlmProperties properties) {
    this.properties = properties;
  }

  /** Directory of downloaded models. */
  Path cache() {
    return path(properties.cache());
  }

  /** A path, {@code ~/} being the home directory. */
  static Path path(String source) {
    return Path.of(source.startsWith("~/") ? System.getProperty("user.home") + source.substring(1) : source);
  }

  /** Where a model is, or will be once it is downloaded. */
  Path of(String source) {
    return HubModel.parse(source).map(model -> model.place(cache())).orElseGet(() -> path(source));
  }

  /**
   * Where a model is, after downloading it when it is a hub's and not here yet.
   *
   * @throws ModelFileException when no hub is set, or it does not have the model
   */
  Path fetched(String source, Hub.Progress progress) throws IOException {
    Optional<HubModel> model = HubModel.parse(source);
    if (model.isEmpty() || Hub.isComplete(model.get(), cache())) {
      return of(source);
    }
    return fetch(model.get(), progress);
  }

  /** Downloads what is missing, and checks what is there against the hub. */
  Path fetch(HubModel model, Hub.Progress progress) throws IOException {
    try (Hub hub = new Hub(endpoint(model), PAUSE)) {
      return hub.fetch(model, cache(), progress);
    }
  }

  private URI endpoint(HubModel model) {
    String hub = properties.hub() != null ? properties.hub() : System.getenv("HF_ENDPOINT");
    if (hub == null || hub.isBlank()) {
      throw new ModelFileException(("%s has to be downloaded, but no hub is set: set attune.llm.hub (or HF_ENDPOINT) to"
          + " the address of a hub that speaks Hugging Face's HTTP interface").formatted(model));
    }
    return URI.create(hub.strip());
  }
}
