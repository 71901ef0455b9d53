package dev.attune.ranking.segments;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;

/** Values whose every byte follows from a number, so that a reader can tell what must stand there. */
final class TestValues {

  static final Digest CONTENT = Digest.of("content");

  private TestValues() {}

  static Digest document(int i) {
    return Digest.of("document " + i);
  }

  static MemorySegment value(int seed, int length) {
    byte[] bytes = new byte[length];
    new SplittableRandom(seed).nextBytes(bytes);
    return Arena.ofAuto().allocateFrom(ValueLayout.JAVA_BYTE, bytes);
  }

  /** Bytes of disk that a file takes: less than its size when it is sparse. */
  static long allocated(Path file) throws IOException {
    // In blocks of 512 bytes, whatever the file system's are.
    ProcessBuilder stat = new ProcessBuilder("stat", "-c", "%b", file.toString());
    Process process = stat.start();
    try (var out = process.inputReader()) {
      return Long.parseLong(out.readLine()) * 512;
    } finally {
      process.destroy();
      if (!Files.exists(file)) {
        throw new IOException(file + " is gone");
      }
    }
  }
}
