package dev.attune.datadir;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The directory named by {@code attune.data-dir}; rooms ask it for their own sub-directory. */
public final class DataDirectory {

  private final Path root;

  public DataDirectory(Path root) {
    this.root = root.toAbsolutePath().normalize();
    create(this.root);
  }

  public Path root() {
    return root;
  }

  /**
   * Returns the sub-directory of one room, made if missing.
   *
   * @throws UncheckedIOException when it cannot be created
   */
  public Path room(String name) {
    return create(root.resolve(name));
  }

  private static Path create(Path directory) {
    try {
      return Files.createDirectories(directory);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "Cannot create " + directory + "; set attune.data-dir to a directory that can be written", e);
    }
  }
}
