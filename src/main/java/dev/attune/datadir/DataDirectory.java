package dev.attune.datadir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;

/**
 * The directory named by {@code attune.data-dir}; rooms ask it for their own sub-directory. What it makes can be
 * read by the account of the service alone: search logs are private.
 */
public final class DataDirectory {

  private final Path root;

  public DataDirectory(Path root) {
    this.root = root.toAbsolutePath().normalize();
    // PostgreSQL never runs as root: then its account has to pass through, without being able to list.
    create(this.root, runsAsRoot() ? "rwx--x--x" : "rwx------");
  }

  public Path root() {
    return root;
  }

  /**
   * Returns the sub-directory of one room, made if missing.
   *
   * @throws DataDirectoryException when it cannot be created
   */
  public Path room(String name) {
    return create(root.resolve(name), "rwx------");
  }

  /** Whether this process has the effective user id 0. */
  public static boolean runsAsRoot() {
    try {
      return Integer.valueOf(0).equals(Files.getAttribute(Path.of("/proc/self"), "unix:uid"));
    } catch (IOException | UnsupportedOperationException | IllegalArgumentException e) {
      return "root".equals(System.getProperty("user.name"));
    }
  }

  private static Path create(Path directory, String permissions) {
    try {
      boolean posix = directory.getFileSystem().supportedFileAttributeViews().contains("posix");
      Files.createDirectories(
          directory,
          posix
              ? new FileAttribute<?>[] {
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(permissions))
              }
              : new FileAttribute<?>[0]);
    } catch (IOException e) {
      throw new DataDirectoryException("The data directory " + directory + " cannot be created: " + e, e);
    }
    if (!Files.isWritable(directory)) {
      throw new DataDirectoryException("The data directory " + directory + " cannot be written to.", null);
    }
    return directory;
  }
}
