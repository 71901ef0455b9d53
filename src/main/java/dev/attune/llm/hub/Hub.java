package dev.attune.llm.hub;

import dev.attune.llm.ModelFileException;
import dev.attune.llm.checkpoint.Checksums;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** One hub. */
public final class Hub implements AutoCloseable {

  /** Sees how a download comes along. */
  @FunctionalInterface
  public interface Progress {
    /** Called from time to time, and when the file is complete. */
    void at(String file, long bytes, long ofBytes);
  }

  private static final Set<String> SETTINGS =
      Set.of("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
          "model.safetensors.index.json");
  private static final String WEIGHTS = "model(-\\d+-of-\\d+)?\\.safetensors";

  private final URI endpoint;
  private final HttpClient client;
  private final HubDownload download;

  /**
   * @param endpoint address, for example {@code https://hub.example.org}
   * @param pause before the first retry; grows with each that follows without progress
   */
  public Hub(URI endpoint, Duration pause) {
    if (endpoint.getHost() == null || !Set.of("http", "https").contains(String.valueOf(endpoint.getScheme()))) {
      throw new IllegalArgumentException("attune.llm.hub must be an http or https address, not '" + endpoint + "'");
    }
    this.endpoint = endpoint;
    this.client = HttpClient.newBuilder()
        .followRedirects(HttpClient.Redirect.NORMAL)
        .connectTimeout(Duration.ofSeconds(20))
        .build();
    this.download = new HubDownload(client, pause);
  }

  /**
   * Downloads what is missing of a model; what is there already, whole or in part, is kept.
   *
   * @return what the loader opens
   * @throws ModelFileException when the hub does not have it, or what came is not what the hub announced
   * @throws IOException when the connection fails repeatedly
   */
  public Path fetch(HubModel model, Path cache, Progress progress) throws IOException {
    Path directory = model.directory(cache);
    Files.createDirectories(directory);
    // Pinned to a commit, so that files of two versions are never mixed.
    String commit = commit(model);
    List<HubFile> files = wanted(model, list(model, commit));
    SequencedMap<String, String> sums = Checksums.recorded(directory);
    for (HubFile file : files) {
      Path target = directory.resolve(file.name());
      if (!Files.exists(target) || Files.size(target) != file.size() || !file.matches(target)) {
        fetch(model, commit, file, target, progress);
      }
      sums.put(file.name(), Checksums.of(target));
    }
    // Last: its presence says that the model is complete.
    Checksums.record(directory, sums);
    return model.place(cache);
  }

  /** Whether a model is completely downloaded. */
  public static boolean isComplete(HubModel model, Path cache) {
    return Files.exists(model.directory(cache).resolve(Checksums.RECORD)) && Files.exists(model.place(cache));
  }

  private void fetch(HubModel model, String commit, HubFile file, Path target, Progress progress) throws IOException {
    // A part belongs to one content: another version of the file must not be continued from it.
    String content = file.sha256().isEmpty() ? file.gitSha1() : file.sha256();
    Path part = target.resolveSibling(file.name() + "." + content.substring(0, 16) + ".part");
    URI source = address(model, "/resolve/" + commit + "/" + file.name(), "");
    download.run(source, part, file.size(), bytes -> progress.at(file.name(), bytes, file.size()));
    if (!file.matches(part)) {
      Files.delete(part);
      throw new ModelFileException(("%s of %s came with another checksum than the hub announced (%s); it was deleted. "
          + "Fetch it again; if that does not help, the hub or something on the way changes it")
              .formatted(file.name(), model, content));
    }
    Files.move(part, target, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
  }

  private String commit(HubModel model) throws IOException {
    String commit = json(model, "/revision/" + model.revision()).path("sha").asString("");
    if (!commit.matches("[0-9a-f]{7,64}")) {
      throw new ModelFileException("The hub does not say which commit %s is".formatted(model));
    }
    return commit;
  }

  private List<HubFile> list(HubModel model, String commit) throws IOException {
    List<HubFile> files = new ArrayList<>();
    for (JsonNode entry : json(model, "/tree/" + commit)) {
      String name = entry.path("path").asString("");
      JsonNode lfs = entry.path("lfs");
      String sha256 = lfs.path("oid").asString("").replaceFirst("^sha256:", "");
      String gitSha1 = entry.path("oid").asString("");
      long size = lfs.path("size").asLong(entry.path("size").asLong(-1));
      if (!entry.path("type").asString("").equals("file") || !name.matches("[\\w][\\w.-]*")) {
        continue;
      }
      if (size < 0 || !(sha256.matches("[0-9a-f]{64}") || sha256.isEmpty() && gitSha1.matches("[0-9a-f]{40}"))) {
        throw new ModelFileException("The hub gives no size or checksum of %s of %s".formatted(name, model));
      }
      files.add(new HubFile(name, size, sha256, gitSha1));
    }
    return files;
  }

  private static List<HubFile> wanted(HubModel model, List<HubFile> all) {
    if (!model.file().isEmpty()) {
      return all.stream().filter(file -> file.name().equals(model.file())).findFirst().map(List::of).orElseThrow(
          () -> new ModelFileException("%s has no file %s".formatted(model, model.file())));
    }
    List<HubFile> weights = all.stream().filter(file -> file.name().matches(WEIGHTS)).toList();
    if (!weights.isEmpty()) {
      List<HubFile> files = new ArrayList<>(all.stream().filter(file -> SETTINGS.contains(file.name())).toList());
      for (String needed : List.of("config.json", "tokenizer.json")) {
        if (files.stream().noneMatch(file -> file.name().equals(needed))) {
          throw new ModelFileException("%s has no %s".formatted(model, needed));
        }
      }
      files.addAll(weights);
      return files;
    }
    List<HubFile> gguf = all.stream().filter(file -> file.name().endsWith(".gguf")).toList();
    if (gguf.size() != 1) {
      throw new ModelFileException(gguf.isEmpty()
          ? "%s has neither safetensors nor GGUF files".formatted(model)
          : "%s has %d GGUF files; name one: %s:FILE, where FILE is one of %s"
              .formatted(model, gguf.size(), model, String.join(", ", gguf.stream().map(HubFile::name).toList())));
    }
    return gguf;
  }

  private JsonNode json(HubModel model, String what) throws IOException {
    URI address = address(model, what, "/api/models");
    HttpRequest request = HttpRequest.newBuilder(address).timeout(Duration.ofSeconds(60)).build();
    HttpResponse<InputStream> response = send(client, request);
    try (InputStream body = response.body()) {
      switch (response.statusCode()) {
        case 200 -> {
          return JsonMapper.shared().readTree(body);
        }
        case 401, 403 -> throw new ModelFileException(
            ("%s does not exist, or the hub gives it to people with permission"
                + " only: download it yourself and set attune.llm.model to its directory").formatted(model));
        case 404 -> throw new ModelFileException("%s does not exist on %s".formatted(model, endpoint));
        default -> throw new IOException("%s answered with status %d".formatted(address, response.statusCode()));
      }
    } catch (JacksonException e) {
      throw new IOException("%s did not answer with JSON: is attune.llm.hub right?".formatted(address), e);
    }
  }

  private URI address(HubModel model, String what, String prefix) {
    String base = endpoint.toString().replaceFirst("/+$", "");
    return URI.create(base + prefix + "/" + model.organisation() + "/" + model.name() + what);
  }

  static HttpResponse<InputStream> send(HttpClient client, HttpRequest request) throws IOException {
    try {
      return client.send(request, HttpResponse.BodyHandlers.ofInputStream());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("Interrupted while waiting for " + request.uri().getHost());
    }
  }

  @Override
  public void close() {
    client.shutdownNow();
  }
}
