package dev.attune.searchlog;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.attune.AttuneIntegrationTest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.beans.factory.annotation.Autowired;

/** The public UBI sample logs go in without a rejection. Skipped where they are not at hand. */
@AttuneIntegrationTest
class UbiSampleFilesTest {

  private static final Path DATA =
      Path.of(System.getProperty("attune.test.data", "../shared/data")).resolve("ubi");

  @Autowired LogFiles files;

  @ParameterizedTest
  @CsvSource({
    "ubi_queries_events.ndjson.gz, 3921",
    "ubi_queries_events.esci-search-quality-evaluation.ndjson.gz, 1260",
    "log_events_new.tsv.gz, 30958"
  })
  void goesInAndIsKnownTheSecondTime(String name, int items) throws IOException {
    Path file = DATA.resolve(name);
    assumeTrue(Files.exists(file), () -> file + " is not here; -Dattune.test.data names another place");

    long start = System.nanoTime();
    SearchLog.IngestReport first = files.ingest(file);
    long millis = (System.nanoTime() - start) / 1_000_000;
    System.out.printf("%s: %s, %d items/s%n", name, first, 1000L * items / millis);
    SearchLog.IngestReport again = files.ingest(file);

    assertThat(first.received()).isEqualTo(items);
    assertThat(first.errors()).isEmpty();
    assertThat(first.accepted() + first.duplicates()).isEqualTo(items);
    assertThat(again.duplicates()).isEqualTo(items);
    assertThat(again.accepted()).isZero();
  }
}
