package dev.attune.database;

import dev.attune.datadir.DataDirectory;
import java.nio.file.Path;
import java.time.Duration;

/** Run by {@link EmbeddedPostgresTest} in a process of an ordinary user. */
final class OrdinaryUserMain {

  private OrdinaryUserMain() {}

  public static void main(String[] args) throws Exception {
    var properties =
        new DatabaseProperties(Duration.ofSeconds(60), Duration.ofSeconds(30), null, Path.of("/nonexistent"));
    DataDirectory data = new DataDirectory(Path.of(args[0]));
    try (EmbeddedPostgres first = EmbeddedPostgres.start(data, properties)) {
      EmbeddedPostgresTest.write(first, 5);
    }
    try (EmbeddedPostgres second = EmbeddedPostgres.start(data, properties)) {
      System.out.println("read " + EmbeddedPostgresTest.read(second));
    }
  }
}
