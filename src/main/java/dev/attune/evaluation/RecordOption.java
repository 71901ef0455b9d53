package dev.attune.evaluation;

import dev.attune.evaluation.MeasuredResult.Row;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/** Keeps the figures of a command as YAML. */
final class RecordOption {

  /** They say where things lie on one machine. */
  private static final Set<String> LEFT_OUT = Set.of("--record", "--run-out", "--data", "--per-query");

  @Option(names = "--record",
      description = "File for the figures as YAML; title, notes and tolerances of one that is there are kept.")
  private @Nullable Path file;

  /** Writes the file if it was asked for. */
  void write(
      CommandSpec spec,
      String title,
      @Nullable String model,
      Map<String, String> data,
      Map<String, Double> tolerances,
      List<String> keys,
      List<Row> rows) {
    Path path = file;
    if (path == null) {
      return;
    }
    MeasuredResult before = Files.exists(path) ? MeasuredResult.read(path) : null;
    MeasuredResult result =
        new MeasuredResult(
            path.getFileName().toString().replaceFirst("\\.yml$", ""),
            before == null ? title : before.title(),
            command(spec),
            commit(),
            LocalDate.now(ZoneOffset.UTC).toString(),
            machine(),
            model,
            before == null ? null : before.notes(),
            data,
            before == null ? tolerances : before.tolerances(),
            keys,
            rows);
    try {
      Files.writeString(path, result.yaml());
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write " + path, e);
    }
  }

  private static String command(CommandSpec spec) {
    List<String> words = new ArrayList<>(List.of("evaluate"));
    List<String> given = spec.root().commandLine().getParseResult().originalArgs();
    for (int i = 0; i < given.size(); i++) {
      String option = given.get(i).split("=", 2)[0];
      if (LEFT_OUT.contains(option)) {
        i += given.get(i).contains("=") ? 0 : 1;
      } else {
        words.add(given.get(i));
      }
    }
    return String.join(" ", words);
  }

  private static String commit() {
    try {
      Process git = new ProcessBuilder("git", "rev-parse", "--short=10", "HEAD").start();
      String id = new String(git.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip();
      return git.waitFor(10, TimeUnit.SECONDS) && git.exitValue() == 0 ? id : "unknown";
    } catch (IOException e) {
      return "unknown";
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "unknown";
    }
  }

  private static String machine() {
    String processor = System.getProperty("os.arch");
    try {
      processor =
          Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
              .filter(line -> line.startsWith("model name"))
              .map(line -> line.substring(line.indexOf(':') + 1).strip())
              .findFirst()
              .orElse(processor);
    } catch (IOException e) {
      // Not Linux.
    }
    return Runtime.getRuntime().availableProcessors() + " cores of " + processor;
  }
}
