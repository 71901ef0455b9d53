package dev.attune;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import java.util.stream.Stream;
import org.springframework.boot.test.util.TestPropertyValues;
import org.springframework.context.ApplicationContextInitializer;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.util.FileSystemUtils;

/** Gives each context a data directory of its own, and removes those that earlier runs left. */
class TestDataDirectory implements ApplicationContextInitializer<ConfigurableApplicationContext> {

  private static final Path ROOT = Path.of("target/test-data").toAbsolutePath();

  @Override
  public void initialize(ConfigurableApplicationContext context) {
    removeAbandoned();
    TestPropertyValues.of(
            "attune.data-dir=" + ROOT.resolve(UUID.randomUUID().toString()),
            "attune.database.binaries-dir=" + ROOT.resolveSibling("postgres-binaries"))
        .applyTo(context);
  }

  private static void removeAbandoned() {
    if (!Files.isDirectory(ROOT)) {
      return;
    }
    try (Stream<Path> directories = Files.list(ROOT)) {
      for (Path directory : directories.toList()) {
        if (!inUse(directory)) {
          FileSystemUtils.deleteRecursively(directory);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean inUse(Path directory) throws IOException {
    Path file = directory.resolve("lock");
    if (!Files.exists(file)) {
      return false;
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
        FileLock lock = channel.tryLock()) {
      return lock == null;
    } catch (OverlappingFileLockException e) {
      return true;
    }
  }
}
