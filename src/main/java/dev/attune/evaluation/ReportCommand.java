package dev.attune.evaluation;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Brings the tables of the documentation up to the results that are kept. */
@Command(
    name = "report",
    description = "Writes the results that are kept into the places of a document that name them.",
    mixinStandardHelpOptions = true)
class ReportCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Option(names = "--results", defaultValue = "src/main/resources/evaluation/results",
      description = "Directory of the results (default: ${DEFAULT-VALUE}).")
  private Path results;

  @Option(names = "--document", defaultValue = "docs/benchmarks.md", description = "Default: ${DEFAULT-VALUE}.")
  private Path document;

  @Override
  public Integer call() {
    try {
      String before = Files.readString(document);
      String after = ResultTable.fill(before, MeasuredResult.in(results));
      Files.writeString(document, after);
      spec.commandLine().getOut().println(document + (after.equals(before) ? " was up to date" : " is up to date now"));
      return 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
