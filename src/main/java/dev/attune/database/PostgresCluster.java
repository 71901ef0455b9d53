package dev.attune.database;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.util.FileSystemUtils;

/** The database files: made once with a random password, and freed of what a killed service left behind. */
final class PostgresCluster {

  static final String USER = "attune";
  private static final Logger log = LoggerFactory.getLogger(PostgresCluster.class);

  private final PostgresHome home;
  private final Path binaries;
  private final ServerAccount account;

  PostgresCluster(PostgresHome home, Path binaries, ServerAccount account) {
    this.home = home;
    this.binaries = binaries;
    this.account = account;
  }

  /** Returns the password of the cluster, which exists afterwards. */
  String prepare() {
    Path cluster = home.cluster();
    Path passwordFile = home.state().resolve("password");
    try {
      if (Files.exists(cluster.resolve("PG_VERSION"))) {
        if (!Files.exists(passwordFile)) {
          throw new DatabaseException(
              "The database " + cluster + " is there, but its password " + passwordFile + " is gone.");
        }
        checkVersion(cluster);
        return Files.readString(passwordFile).strip();
      }
      String password = newPassword();
      initialise(cluster, password);
      Path fresh = passwordFile.resolveSibling("password.new");
      writePrivately(fresh, password);
      Files.move(fresh, passwordFile, java.nio.file.StandardCopyOption.ATOMIC_MOVE);
      Files.move(cluster.resolveSibling("cluster.new"), cluster, java.nio.file.StandardCopyOption.ATOMIC_MOVE);
      return password;
    } catch (IOException e) {
      throw new DatabaseException("The database " + cluster + " cannot be prepared: " + e, e);
    }
  }

  /** Makes the cluster beside its place, so that a half-made one is never taken for a database. */
  private void initialise(Path cluster, String password) throws IOException {
    Path fresh = cluster.resolveSibling("cluster.new");
    FileSystemUtils.deleteRecursively(fresh);
    Files.createDirectories(fresh);
    Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rwx------"));
    account.own(fresh);
    Path passwordForInit = cluster.resolveSibling("initdb.password");
    writePrivately(passwordForInit, password);
    account.own(passwordForInit);
    try {
      Process initdb =
          new ProcessBuilder(
                  account.command(
                      List.of(
                          binaries.resolve("bin/initdb").toString(),
                          "--pgdata=" + fresh,
                          "--username=" + USER,
                          "--pwfile=" + passwordForInit,
                          "--auth=scram-sha-256",
                          "--encoding=UTF8",
                          "--locale-provider=builtin",
                          "--builtin-locale=C.UTF-8",
                          "--locale=C",
                          "--data-checksums")))
              .directory(cluster.getParent().toFile())
              .redirectErrorStream(true)
              .start();
      String output = new String(initdb.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
      if (initdb.waitFor() != 0) {
        throw new DatabaseException("initdb failed for " + fresh + ":\n" + output.strip());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DatabaseException("Interrupted while PostgreSQL was initialised", e);
    } finally {
      Files.deleteIfExists(passwordForInit);
    }
  }

  private void checkVersion(Path cluster) throws IOException {
    String have = Files.readString(cluster.resolve("PG_VERSION")).strip();
    String major = binaries.getFileName().toString().split("\\.", 2)[0];
    if (!major.equals("unknown") && !have.equals(major)) {
      throw new DatabaseException(
          "The database %s was made by PostgreSQL %s, this version of Attune brings %s. Run pg_upgrade, or move it away"
                  .formatted(cluster, have, major)
              + " and load the data again.");
    }
  }

  /**
   * Makes sure that no server runs on the cluster. The lock on the data directory is held, so one that does was left
   * by a killed service and is on its way out, or never heard of it.
   */
  void evict(Duration timeout) {
    Path pidFile = home.cluster().resolve("postmaster.pid");
    Optional<ProcessHandle> named = processIn(pidFile);
    if (named.isEmpty()) {
      return; // PostgreSQL itself removes the file of a dead process after its own checks.
    }
    try {
      ProcessHandle process = named.get();
      if (isServer(process.pid())) {
        log.info("Waiting for the PostgreSQL of a killed service (process {}) to end", process.pid());
        signal(process.pid(), "INT");
        process.onExit().get(timeout.toMillis(), TimeUnit.MILLISECONDS);
      } else if (noProcessIn(home.cluster())) {
        log.warn("{} names process {}, which is not PostgreSQL: removed", pidFile, process.pid());
        Files.deleteIfExists(pidFile);
      }
    } catch (java.util.concurrent.TimeoutException e) {
      throw new DatabaseException(
          "PostgreSQL process %d still uses %s and does not end. End it.".formatted(named.get().pid(), home.cluster()),
          e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DatabaseException("Interrupted while starting PostgreSQL", e);
    } catch (IOException | java.util.concurrent.ExecutionException e) {
      throw new DatabaseException("What a killed service left in " + home.cluster() + " cannot be removed: " + e, e);
    }
  }

  private static Optional<ProcessHandle> processIn(Path pidFile) {
    try (Stream<String> lines = Files.lines(pidFile)) {
      return lines.findFirst().map(String::strip).map(Long::parseLong).flatMap(ProcessHandle::of);
    } catch (IOException | java.io.UncheckedIOException | NumberFormatException e) {
      return Optional.empty();
    }
  }

  private boolean isServer(long pid) {
    return workingDirectory(Path.of("/proc", Long.toString(pid))).filter(home.cluster()::equals).isPresent();
  }

  /** A server's children may outlive it; while one does, its shared memory is in use and the file must stay. */
  private static boolean noProcessIn(Path cluster) throws IOException {
    try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
      return processes.flatMap(p -> workingDirectory(p).stream()).noneMatch(cluster::equals);
    }
  }

  private static Optional<Path> workingDirectory(Path process) {
    try {
      Path link = process.resolve("cwd");
      return Files.exists(link, LinkOption.NOFOLLOW_LINKS)
          ? Optional.of(Files.readSymbolicLink(link))
          : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  static void signal(long pid, String name) throws IOException, InterruptedException {
    new ProcessBuilder("sh", "-c", "kill -" + name + " " + pid)
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .start()
        .waitFor();
  }

  static void writePrivately(Path file, String content) throws IOException {
    Files.deleteIfExists(file);
    Files.createFile(
        file, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(file, content + "\n");
  }

  private static String newPassword() {
    byte[] bytes = new byte[24];
    new SecureRandom().nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
