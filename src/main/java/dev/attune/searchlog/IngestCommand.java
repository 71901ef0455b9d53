package dev.attune.searchlog;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.springframework.stereotype.Component;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Component
@Command(
    name = "ingest",
    description = {
      "Store search logs (User Behavior Insights).",
      "Files are NDJSON, a JSON array, or .tsv whose last column is an item; each may be .gz. Items that the log knows"
          + " are skipped, so a file can be sent again. The service must not be running on the same data directory."
    })
class IngestCommand implements Callable<Integer> {

  private final LogFiles files;

  @Parameters(arity = "1..*", paramLabel = "FILE", description = "Log files, in any order.")
  private List<Path> paths = List.of();

  @Spec private CommandSpec spec;

  IngestCommand(LogFiles files) {
    this.files = files;
  }

  @Override
  public Integer call() throws IOException {
    boolean rejected = false;
    for (Path path : paths) {
      long start = System.nanoTime();
      SearchLog.IngestReport report = files.ingest(path);
      double seconds = (System.nanoTime() - start) / 1e9;
      spec.commandLine()
          .getOut()
          .printf(
              "%s: %,d received, %,d accepted, %,d duplicates, %,d rejected in %.1f s (%,.0f items/s)%n",
              path, report.received(), report.accepted(), report.duplicates(), report.rejected(), seconds,
              report.received() / seconds);
      report.errors().forEach(e -> spec.commandLine().getErr().printf("  item %d: %s%n", e.index(), e.reason()));
      rejected |= report.rejected() > 0;
    }
    return rejected ? 1 : 0;
  }
}
