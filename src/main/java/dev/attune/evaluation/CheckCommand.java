package dev.attune.evaluation;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Compares what is measured now with what is kept. */
@Command(
    name = "check",
    description = "Measures again and compares with the results that are kept. Exit code 2 when one moved more than "
        + "its tolerance, in either direction.",
    mixinStandardHelpOptions = true)
class CheckCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Parameters(arity = "0..*", paramLabel = "NAME",
      description = "Results to check (default: all that 'evaluate' measured).")
  private List<String> names = List.of();

  @Option(names = "--against", split = ",",
      description = "Compare with these files, which --record wrote, instead of measuring again; the file's name says "
          + "with which result.")
  private List<Path> against = List.of();

  @Option(names = "--data", defaultValue = "../shared/data",
      description = "Directory of the collections (default: ${DEFAULT-VALUE}).")
  private Path data;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    Map<String, MeasuredResult> kept = MeasuredResult.bundled();
    List<String> differences = new ArrayList<>();
    int compared = 0;
    if (!against.isEmpty()) {
      for (Path file : against) {
        MeasuredResult repeated = MeasuredResult.read(file);
        differences.addAll(ResultComparison.differences(find(kept, repeated.name()), repeated));
        compared++;
      }
    } else {
      for (String name : names.isEmpty() ? kept.keySet() : names) {
        MeasuredResult result = find(kept, name);
        if (!result.command().startsWith("evaluate ")) {
          out.printf("%s is not measured by this program: %s%n", name, result.command());
          continue;
        }
        out.printf("%s: %s%n", name, result.command());
        out.flush();
        MeasuredResult repeated = repeat(result);
        differences.addAll(
            repeated == null
                ? List.of(name + ": the command failed")
                : ResultComparison.differences(result, repeated));
        compared++;
      }
    }
    differences.forEach(out::println);
    out.printf("%d result%s compared, %d difference%s%n", compared, compared == 1 ? "" : "s", differences.size(),
        differences.size() == 1 ? "" : "s");
    out.flush();
    return differences.isEmpty() ? 0 : 2;
  }

  private MeasuredResult find(Map<String, MeasuredResult> kept, String name) {
    MeasuredResult result = kept.get(name);
    if (result == null) {
      throw new CommandLine.ParameterException(
          spec.commandLine(), "There is no result '" + name + "'; there are " + String.join(", ", kept.keySet()));
    }
    return result;
  }

  /** Null when the command failed, which says itself why. */
  private @Nullable MeasuredResult repeat(MeasuredResult result) {
    try {
      Path directory = Files.createTempDirectory("attune-check");
      Path file = directory.resolve(result.name() + ".yml");
      List<String> words = new ArrayList<>(List.of(result.command().split(" +")));
      words.removeFirst();
      words.addAll(List.of("--record", file.toString()));
      if (words.getFirst().equals("ranking") || words.getFirst().equals("linking")) {
        words.addAll(List.of("--data", data.toString()));
      }
      CommandLine root = spec.root().commandLine();
      int code =
          new CommandLine(root.getCommandSpec().userObject(), root.getFactory())
              .setOut(root.getOut())
              .setErr(root.getErr())
              .execute(words.toArray(String[]::new));
      MeasuredResult repeated = code == 0 && Files.exists(file) ? MeasuredResult.read(file) : null;
      Files.deleteIfExists(file);
      Files.deleteIfExists(directory);
      return repeated;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
