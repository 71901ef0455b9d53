package dev.attune.llm;

import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.checkpoint.Checksums;
import dev.attune.llm.hub.HubModel;
import dev.attune.llm.kv.HeadCalibration;
import dev.attune.llm.kv.HeadScores;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.stereotype.Component;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;

/** {@code attune models}: the model files of this machine. Runs beside a service; only calibrating loads weights. */
@Component
@EnableConfigurationProperties(LlmProperties.class)
@Command(name = "models", description = "List, fetch, inspect, verify and calibrate models.")
class ModelsCommand {

  private static final String MODEL = "Path, or hf:org/name on the hub. Default: attune.llm.model.";

  private final LlmProperties properties;
  private final ModelPlaces places;

  @Spec private CommandSpec spec;

  ModelsCommand(LlmProperties properties) {
    this.properties = properties;
    this.places = new ModelPlaces(properties);
  }

  @Command(name = "list", description = "What is configured, what the build locks, and what lies in the cache.")
  int list() throws IOException {
    Path configured = places.of(properties.model()).toAbsolutePath().normalize();
    SequencedMap<Path, List<String>> models = new LinkedHashMap<>();
    models.put(configured, new ArrayList<>(List.of("configured")));
    for (LockedModels.Entry entry : LockedModels.packaged().entries()) {
      models.computeIfAbsent(places.cache().resolve(entry.file()), _ -> new ArrayList<>()).add("locked");
    }
    for (Path cached : cached()) {
      models.computeIfAbsent(cached, _ -> new ArrayList<>()).add("cached");
    }
    for (Map.Entry<Path, List<String>> model : models.entrySet()) {
      boolean there = Files.exists(model.getKey());
      print("%-28s %9s  %s".formatted(String.join(", ", model.getValue()),
          there ? "%.1f MB".formatted(size(model.getKey()) / 1048576.0) : "missing", model.getKey()));
    }
    return CommandLine.ExitCode.OK;
  }

  @Command(name = "fetch",
      description = "Download a model of the hub (attune.llm.hub) into the cache; goes on where an "
          + "earlier download was cut off, and checks what is there already.")
  int fetch(@Parameters(arity = "0..1", paramLabel = "MODEL", description = "hf:org/name[@revision][:file.gguf]. "
      + "Default: attune.llm.model.") @Nullable String name) {
    String source = name == null ? properties.model() : name;
    return guarded(() -> {
      Optional<HubModel> model = HubModel.parse(source);
      if (model.isEmpty()) {
        throw new ModelFileException(
            "'%s' is not a model of the hub (hf:org/name). The default model is fetched by the "
                .formatted(source) + "build, or with `python3 models/fetch.py`");
      }
      print("Ready at " + places.fetch(model.get(), (file, bytes, of) -> {
        print("%-40s %8.1f of %.1f MB".formatted(file, bytes / 1048576.0, of / 1048576.0));
        out().flush();
      }));
      return CommandLine.ExitCode.OK;
    });
  }

  @Command(name = "inspect", description = "Architecture, shape, element types, sizes and tokenizer of a model.")
  int inspect(
      @Parameters(arity = "0..1", paramLabel = "MODEL", description = MODEL) @Nullable String name,
      @Option(names = "--tensors", description = "List every tensor.") boolean tensors) {
    return guarded(() -> {
      try (Checkpoint checkpoint = Checkpoint.open(places.of(name == null ? properties.model() : name))) {
        ModelReport.print(checkpoint, tensors, out());
        return CommandLine.ExitCode.OK;
      }
    });
  }

  @Command(name = "verify", description = "Check a model's files against models.lock or the sums recorded beside them "
      + "(SHA256SUMS), and that they can be read. Exit status 1 when something is wrong or nothing is recorded.")
  int verify(
      @Parameters(arity = "0..1", paramLabel = "MODEL", description = MODEL) @Nullable String name,
      @Option(names = "--record", description = "Record the sums as they are now.") boolean record) {
    return guarded(() -> {
      try (Checkpoint checkpoint = Checkpoint.open(places.of(name == null ? properties.model() : name))) {
        return record ? record(checkpoint) : verify(checkpoint);
      }
    });
  }

  private int record(Checkpoint checkpoint) throws IOException {
    Path directory = directory(checkpoint);
    SequencedMap<String, String> sums = Checksums.recorded(directory);
    for (Path file : checkpoint.files()) {
      sums.put(file.getFileName().toString(), Checksums.of(file));
    }
    Checksums.record(directory, sums);
    print("Recorded in " + directory.resolve(Checksums.RECORD));
    return CommandLine.ExitCode.OK;
  }

  private int verify(Checkpoint checkpoint) throws IOException {
    Map<String, String> recorded = Checksums.recorded(directory(checkpoint));
    LockedModels locked = LockedModels.packaged();
    int status = CommandLine.ExitCode.OK;
    for (Path file : checkpoint.files()) {
      String name = file.getFileName().toString();
      String sum = Checksums.of(file);
      Optional<String> lock = locked.ofFile(name).map(LockedModels.Entry::sha256);
      String wanted = lock.orElse(recorded.get(name));
      String verdict =
          wanted == null ? "nothing recorded" : wanted.equals(sum) ? "right" : "WRONG, should be " + wanted;
      print("%s  %s: %s%s".formatted(sum, name, verdict, lock.isPresent() ? " (models.lock)" : ""));
      status = sum.equals(wanted) ? status : CommandLine.ExitCode.SOFTWARE;
    }
    return status;
  }

  private static Path directory(Checkpoint checkpoint) {
    return checkpoint.files().getFirst().toAbsolutePath().getParent();
  }

  /** Files and directories of the cache that hold models. */
  private List<Path> cached() throws IOException {
    List<Path> found = new ArrayList<>();
    for (Path directory : List.of(places.cache(), places.cache().resolve("hub"))) {
      if (!Files.isDirectory(directory)) {
        continue;
      }
      try (Stream<Path> entries = Files.list(directory)) {
        entries.sorted()
            .filter(entry -> entry.toString().endsWith(".gguf") || Files.exists(entry.resolve(Checksums.RECORD))
                || Files.exists(entry.resolve("config.json")))
            .map(entry -> entry.toAbsolutePath().normalize())
            .forEach(found::add);
      }
    }
    return found;
  }

  private static long size(Path place) throws IOException {
    if (!Files.isDirectory(place)) {
      return Files.size(place);
    }
    long size = 0;
    try (Stream<Path> files = Files.list(place)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        size += Files.size(file);
      }
    }
    return size;
  }

  /** A step that may find the files wanting: one line says why, without a stack trace. */
  @FunctionalInterface
  private interface Step {
    int run() throws IOException;
  }

  private int guarded(Step step) {
    try {
      return step.run();
    } catch (NoSuchFileException e) {
      spec.commandLine().getErr().println("There is no model at " + e.getFile());
    } catch (IOException | ModelFileException | IllegalArgumentException e) {
      spec.commandLine().getErr().println(e.getMessage());
    }
    return CommandLine.ExitCode.SOFTWARE;
  }

  @Command(name = "calibrate", description = "Measure which KV heads of a model are retrieval heads, for KV policies "
      + "with razor. Computes on the CPU.")
  int calibrate(
      @Parameters(arity = "0..1", paramLabel = "MODEL", description = MODEL) @Nullable String name,
      @Option(names = "--length", defaultValue = "1500",
          description = "Random tokens, which are repeated four times (default: ${DEFAULT-VALUE}).") int length,
      @Option(names = "--out", description = "File to write (default: src/main/resources/kv/NAME.json).")
      @Nullable Path out) {
    return guarded(() -> {
      try (ModelLoader.Loaded model = ModelLoader.load(places.of(name == null ? properties.model() : name),
          ModelLoader.EVERYTHING, properties.threadsOrCores())) {
        HeadScores scores = HeadCalibration.measure(model, length, "attune models calibrate --length " + length);
        Path file = out == null ? Path.of("src/main/resources" + HeadScores.resource(model.config().name())) : out;
        Files.writeString(file, JsonMapper.shared().writeValueAsString(scores).replace("],[", "],\n[") + "\n");
        print("Wrote " + file);
        return CommandLine.ExitCode.OK;
      }
    });
  }

  private PrintWriter out() {
    return spec.commandLine().getOut();
  }

  private void print(String line) {
    out().println(line);
  }
}
