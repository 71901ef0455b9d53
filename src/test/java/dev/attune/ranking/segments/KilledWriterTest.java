package dev.attune.ranking.segments;

import static dev.attune.ranking.segments.TestValues.CONTENT;
import static dev.attune.ranking.segments.TestValues.document;
import static dev.attune.ranking.segments.TestValues.value;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A process that is killed while it writes leaves a store that serves what it wrote. */
class KilledWriterTest {

  private static final long LIMIT = 24 << 20;

  @TempDir Path directory;

  /** Writes and deletes until it is killed; the number of the document is in its content. */
  static final class Writer {

    private Writer() {}

    /** Runs in a process of its own. */
    public static void main(String[] args) throws IOException {
      SegmentStore store =
          SegmentStore.open(Path.of(args[0]), LIMIT, Duration.ofMillis(50), InstantSource.system());
      store.use("space");
      for (int i = 0; true; i++) {
        store.put("space", document(i), CONTENT, value(i, length(i)));
        if (i % 3 == 0) {
          store.retain(document(i / 2), null);
        }
        if (i % 20 == 0) {
          store.maintain();
          System.out.println(i);
        }
      }
    }
  }

  private static int length(int i) {
    return 1000 + i * 7919 % 200_000;
  }

  @ParameterizedTest
  @ValueSource(ints = {100, 700, 1900})
  void servesWhatWasWritten(int untilDocument) throws Exception {
    Process writer =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Writer.class.getName(),
                directory.toString())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try (BufferedReader out = writer.inputReader()) {
      String line;
      int written = 0;
      while (written < untilDocument && (line = out.readLine()) != null) {
        written = Integer.parseInt(line);
      }
      // SIGKILL, while it goes on writing.
      writer.destroyForcibly();
      assertThat(writer.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(writer.exitValue()).isEqualTo(137);
      assertThat(Files.list(directory)).isNotEmpty();
      check(written);
    } finally {
      writer.destroyForcibly();
    }
  }

  private void check(int written) throws IOException {
    try (SegmentStore store = SegmentStore.open(directory, LIMIT, Duration.ZERO, InstantSource.system())) {
      store.use("space");
      int recent = 0;
      for (int i = 0; i < written + 2000; i++) {
        MemorySegment found = store.find("space", document(i), CONTENT);
        if (found != null) {
          assertThat(found.toArray(ValueLayout.JAVA_BYTE))
              .as("document %d", i)
              .isEqualTo(value(i, length(i)).toArray(ValueLayout.JAVA_BYTE));
          recent += i > written - 20 && i <= written ? 1 : 0;
        }
      }
      assertThat(store.usage().damaged()).isZero();
      assertThat(recent).as("of the newest 20 that it said it wrote").isEqualTo(20);
    }
  }
}
