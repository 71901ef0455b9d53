package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelCacheTest {

  private static final List<String> MADE_OF = List.of("-DTOKENS=8", "source", "sm_90a");

  @TempDir Path directory;

  @Test
  void findsWhatWasKeptAndNothingElse() {
    KernelCache cache = new KernelCache(directory.resolve("kernels"));
    assertThat(cache.find(MADE_OF)).isEmpty();
    cache.keep(MADE_OF, new byte[] {1, 2, 3});
    assertThat(cache.find(MADE_OF)).hasValue(new byte[] {1, 2, 3});
    // Parts that run together are other parts.
    assertThat(cache.find(List.of("-DTOKENS=8source", "", "sm_90a"))).isEmpty();
    assertThat(cache.find(List.of("-DTOKENS=16", "source", "sm_90a"))).isEmpty();
    cache.keep(MADE_OF, new byte[] {4});
    assertThat(cache.find(MADE_OF)).hasValue(new byte[] {4});
  }

  @Test
  void leavesNoPartialFiles() throws IOException {
    new KernelCache(directory).keep(MADE_OF, new byte[100]);
    try (Stream<Path> files = Files.list(directory)) {
      assertThat(files).singleElement().satisfies(file -> assertThat(file.toString()).endsWith(".cubin"));
    }
  }

  @Test
  void damagedAndTruncatedFilesCountAsMissing() throws IOException {
    KernelCache cache = new KernelCache(directory);
    cache.keep(MADE_OF, new byte[] {1, 2, 3, 4});
    Path file = only();
    byte[] whole = Files.readAllBytes(file);
    byte[] changed = whole.clone();
    changed[changed.length - 1] ^= 1;
    Files.write(file, changed);
    assertThat(cache.find(MADE_OF)).isEmpty();
    for (int length : new int[] {0, 31, 32, whole.length - 1}) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertThat(cache.find(MADE_OF)).as("%d bytes", length).isEmpty();
    }
    cache.keep(MADE_OF, new byte[] {5});
    assertThat(cache.find(MADE_OF)).hasValue(new byte[] {5});
  }

  @Test
  void aPlaceThatCannotBeWrittenIsNoFailure() throws IOException {
    Path occupied = Files.writeString(directory.resolve("file"), "in the way");
    KernelCache cache = new KernelCache(occupied.resolve("kernels"));
    cache.keep(MADE_OF, new byte[] {1});
    assertThat(cache.find(MADE_OF)).isEmpty();
  }

  /** Where there is a compiler; skipped, saying so, where there is none. */
  @Test
  void theCompilerKeepsItsCode() throws IOException {
    KernelCompileTest.compiler();
    Nvrtc compiler = new Nvrtc(new KernelCache(directory));
    byte[] code = compiler.compile("probe.cu", "sm_90a", Numbers.FP16, List.of("-DOF_A_TEST=1")).code();
    assertThat(Files.readAllBytes(only())).endsWith(code).hasSize(32 + code.length);
  }

  private Path only() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList().getFirst();
    }
  }
}
