package dev.attune.database;

import dev.attune.datadir.DataDirectory;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * The account that PostgreSQL runs under. PostgreSQL refuses to run as root, so a service that runs as root hands it
 * to {@code nobody}; otherwise it runs as the service's own account.
 *
 * @param switched whether the account is another one than the service's
 */
record ServerAccount(boolean switched, int uid, int gid) {

  private static final int NOBODY = 65534;

  static ServerAccount detect() {
    if (!DataDirectory.runsAsRoot()) {
      return new ServerAccount(false, -1, -1);
    }
    if (program("setpriv").isEmpty()) {
      throw new DatabaseException(
          "The service runs as root, PostgreSQL must not, and the program setpriv (package util-linux) that changes the"
              + " account is missing.");
    }
    int uid = NOBODY;
    int gid = NOBODY;
    try (Stream<String> lines = Files.lines(Path.of("/etc/passwd"))) {
      String[] fields = lines.filter(l -> l.startsWith("nobody:")).findFirst().orElse("").split(":", -1);
      if (fields.length > 3) {
        uid = Integer.parseInt(fields[2]);
        gid = Integer.parseInt(fields[3]);
      }
    } catch (IOException | NumberFormatException e) {
      throw new DatabaseException("The account nobody cannot be looked up in /etc/passwd: " + e, e);
    }
    return new ServerAccount(true, uid, gid);
  }

  /** The command for a short-lived program, run under this account. */
  List<String> command(List<String> command) {
    List<String> all = new ArrayList<>();
    if (switched) {
      all.addAll(switching());
      all.add("--");
    }
    all.addAll(command);
    return all;
  }

  /**
   * The command for the server: it dies with the thread that starts it, and gets its own session so that Ctrl-C in a
   * terminal reaches the service alone, which then stops the server when it no longer needs it.
   */
  List<String> serverCommand(List<String> command) {
    List<String> all = new ArrayList<>();
    if (program("setpriv").isPresent()) {
      all.addAll(switched ? switching() : List.of("setpriv"));
      all.addAll(List.of("--pdeathsig", "INT", "--"));
    }
    program("setsid").ifPresent(all::add);
    all.addAll(command);
    return all;
  }

  private List<String> switching() {
    return List.of("setpriv", "--reuid=" + uid, "--regid=" + gid, "--clear-groups", "--no-new-privs");
  }

  /** Whether the account can reach a directory through all its parents. */
  boolean canPass(Path directory) {
    if (!switched) {
      return true;
    }
    try {
      Process probe =
          new ProcessBuilder(command(List.of("sh", "-c", "cd \"$0\"", directory.toString())))
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      if (!probe.waitFor(10, TimeUnit.SECONDS)) {
        probe.destroyForcibly();
        return false;
      }
      return probe.exitValue() == 0;
    } catch (IOException e) {
      throw new DatabaseException("setpriv cannot be run: " + e, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DatabaseException("Interrupted while starting PostgreSQL", e);
    }
  }

  /** Gives a tree to this account. */
  void own(Path tree) throws IOException {
    if (!switched) {
      return;
    }
    Files.walkFileTree(
        tree,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path directory, BasicFileAttributes attributes) throws IOException {
            return give(directory);
          }

          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
            return give(file);
          }

          private FileVisitResult give(Path path) throws IOException {
            Files.setAttribute(path, "unix:uid", uid, LinkOption.NOFOLLOW_LINKS);
            Files.setAttribute(path, "unix:gid", gid, LinkOption.NOFOLLOW_LINKS);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  static Optional<String> program(String name) {
    String path = System.getenv().getOrDefault("PATH", "/usr/bin:/bin");
    return Stream.of(path.split(":", -1))
        .filter(directory -> !directory.isEmpty())
        .map(directory -> Path.of(directory, name))
        .filter(Files::isExecutable)
        .map(Path::toString)
        .findFirst();
  }
}
