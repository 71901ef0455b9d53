package dev.attune.database;

import dev.attune.datadir.DataDirectory;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A real PostgreSQL as a child process: fsync on, loopback only, no unix socket, password authentication, a free
 * port at every start. If the service is killed, the server receives SIGINT from the kernel and shuts down by itself;
 * what was committed is there at the next start. If the server ends while the service runs, it is started again on its
 * port.
 */
final class EmbeddedPostgres implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(EmbeddedPostgres.class);
  private static final String DATABASE = "attune";
  private static final int PORT_ATTEMPTS = 3;
  private static final Duration BETWEEN_STARTS = Duration.ofMillis(100);
  private static final Duration BETWEEN_CONNECTIONS = Duration.ofMillis(20);
  /** Between starts of a server that does not stay, at most; and how long one stays to be counted as well. */
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(30);

  private final DatabaseProperties properties;
  private final PostgresHome home;
  private final PostgresCluster cluster;
  private final Supplier<Process> launcher;
  private final String password;
  private final int port;
  private volatile Process server;
  private volatile boolean closing;

  private EmbeddedPostgres(
      DatabaseProperties properties, PostgresHome home, PostgresCluster cluster, String password, int port,
      Supplier<Process> launcher) {
    this.properties = properties;
    this.home = home;
    this.cluster = cluster;
    this.password = password;
    this.port = port;
    this.launcher = launcher;
    server = launcher.get();
  }

  /**
   * Starts the server and waits until it accepts connections.
   *
   * @throws DatabaseException when it does not start
   */
  static EmbeddedPostgres start(DataDirectory dataDirectory, DatabaseProperties properties) {
    long begun = System.nanoTime();
    ServerAccount account = ServerAccount.detect();
    PostgresHome home = PostgresHome.find(dataDirectory, properties.systemDir(), account);
    Path binaries =
        PostgresBinaries.unpack(properties.binariesDir() == null ? home.binaries() : properties.binariesDir());
    PostgresCluster cluster = new PostgresCluster(home, binaries, account);
    String password = cluster.prepare();
    cluster.evict(properties.stopTimeout());
    int portsTaken = 0;
    while (true) {
      int port = freePort();
      EmbeddedPostgres postgres = new EmbeddedPostgres(
          properties, home, cluster, password, port, () -> launch(account, home, binaries, port));
      try {
        postgres.awaitReady();
        PostgresCluster.writePrivately(home.state().resolve("port"), Integer.toString(port));
        log.info(
            "PostgreSQL {} is ready on port {} after {} ms",
            binaries.getFileName(),
            port,
            Duration.ofNanos(System.nanoTime() - begun).toMillis());
        Thread.ofPlatform().name("postgres-watch").daemon().start(postgres::watch);
        return postgres;
      } catch (PortTakenException e) {
        if (++portsTaken == PORT_ATTEMPTS) {
          throw new DatabaseException("PostgreSQL found no free port:\n" + e.getMessage(), e);
        }
      } catch (StillInUseException e) {
        if (System.nanoTime() - begun > properties.startTimeout().toNanos()) {
          throw new DatabaseException(
              "Processes of an earlier PostgreSQL did not end within " + properties.startTimeout()
                  + " (attune.database.start-timeout):\n" + e.getMessage(), e);
        }
        pause(BETWEEN_STARTS);
      } catch (IOException | RuntimeException e) {
        postgres.close();
        throw e instanceof DatabaseException known ? known : new DatabaseException("PostgreSQL: " + e, e);
      }
    }
  }

  String jdbcUrl() {
    return url(DATABASE);
  }

  String username() {
    return PostgresCluster.USER;
  }

  String password() {
    return password;
  }

  long pid() {
    return server.pid();
  }

  /** Starts the server again whenever it ends; one that does not stay after longer and longer pauses. */
  private void watch() {
    Duration pause = BETWEEN_STARTS;
    try {
      while (true) {
        long started = System.nanoTime();
        int code = server.waitFor();
        if (closing) {
          return;
        }
        boolean stayed = System.nanoTime() - started > LONGEST_PAUSE.toNanos();
        pause = stayed ? BETWEEN_STARTS : pause.multipliedBy(2);
        if (pause.compareTo(LONGEST_PAUSE) > 0) {
          pause = LONGEST_PAUSE;
        }
        log.warn("PostgreSQL ended with code {} and is started again:\n{}", code, lastWords());
        Thread.sleep(pause);
        revive();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** A server that does not become ready is left to the next turn. */
  private void revive() {
    try {
      cluster.evict(properties.stopTimeout());
      synchronized (this) {
        if (closing) {
          return;
        }
        server = launcher.get();
      }
      awaitReady();
      log.info("PostgreSQL is ready again on port {}", port);
    } catch (DatabaseException | PortTakenException | StillInUseException e) {
      server.destroyForcibly();
    }
  }

  /** Fast shutdown: open transactions are rolled back, what was committed is flushed. */
  @Override
  public void close() {
    synchronized (this) {
      closing = true;
    }
    if (!server.isAlive()) {
      return;
    }
    try {
      PostgresCluster.signal(server.pid(), "INT");
      if (!server.waitFor(properties.stopTimeout().toMillis(), TimeUnit.MILLISECONDS)) {
        log.warn("PostgreSQL did not stop within {}; it is killed and will recover at the next start",
            properties.stopTimeout());
        server.destroyForcibly();
      }
      Files.deleteIfExists(home.state().resolve("port"));
    } catch (IOException e) {
      server.destroyForcibly();
    } catch (InterruptedException e) {
      server.destroy();
      Thread.currentThread().interrupt();
    }
  }

  /** The kernel ties the server's life to the thread that starts it: that thread stays until the server ends. */
  private static Process launch(ServerAccount account, PostgresHome home, Path binaries, int port) {
    List<String> command =
        account.serverCommand(
            List.of(
                binaries.resolve("bin/postgres").toString(),
                "-D", home.cluster().toString(),
                "-c", "listen_addresses=127.0.0.1",
                "-c", "port=" + port,
                "-c", "unix_socket_directories=",
                "-c", "fsync=on",
                "-c", "max_connections=60",
                "-c", "timezone=UTC",
                "-c", "log_timezone=UTC"));
    CompletableFuture<Process> started = new CompletableFuture<>();
    Path output = home.state().resolve("server.log");
    Thread.ofPlatform()
        .name("postgres")
        .daemon()
        .start(
            () -> {
              try {
                keepPreviousLog(output);
                Process process =
                    new ProcessBuilder(command)
                        .directory(home.cluster().getParent().toFile())
                        .redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.to(output.toFile()))
                        .start();
                started.complete(process);
                process.waitFor();
              } catch (IOException e) {
                started.completeExceptionally(e);
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            });
    try {
      return started.join();
    } catch (CompletionException e) {
      throw new DatabaseException("PostgreSQL cannot be launched: " + e.getCause(), e);
    }
  }

  private static void keepPreviousLog(Path output) throws IOException {
    if (Files.exists(output)) {
      Files.move(output, output.resolveSibling("server.log.1"), StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private void awaitReady() {
    long deadline = System.nanoTime() + properties.startTimeout().toNanos();
    while (true) {
      if (!server.isAlive()) {
        String words = lastWords();
        if (words.contains("could not bind") || words.contains("Address already in use")) {
          throw new PortTakenException(words);
        }
        if (words.contains("pre-existing shared memory block")) {
          throw new StillInUseException(words);
        }
        throw new DatabaseException("PostgreSQL ended with code " + server.exitValue() + ":\n" + words);
      }
      try {
        createDatabase();
        return;
      } catch (SQLException e) {
        if (System.nanoTime() > deadline) {
          throw new DatabaseException(
              "PostgreSQL did not accept connections within " + properties.startTimeout() + " ("
                  + "attune.database.start-timeout): " + e.getMessage() + "\n" + lastWords(), e);
        }
      }
      pause(BETWEEN_CONNECTIONS);
    }
  }

  private static void pause(Duration time) {
    try {
      Thread.sleep(time);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DatabaseException("Interrupted while PostgreSQL was starting", e);
    }
  }

  private void createDatabase() throws SQLException {
    try (Connection connection = DriverManager.getConnection(url("postgres"), username(), password);
        Statement statement = connection.createStatement()) {
      try (ResultSet found = statement.executeQuery("select 1 from pg_database where datname = '" + DATABASE + "'")) {
        if (found.next()) {
          return;
        }
      }
      statement.execute("create database " + DATABASE);
    }
  }

  private String url(String database) {
    return "jdbc:postgresql://127.0.0.1:" + port + "/" + database;
  }

  private String lastWords() {
    try {
      List<String> lines = Files.readAllLines(home.state().resolve("server.log"), StandardCharsets.UTF_8);
      return String.join("\n", lines.subList(Math.max(0, lines.size() - 12), lines.size()));
    } catch (IOException e) {
      return "(its log cannot be read: " + e + ")";
    }
  }

  private static int freePort() {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    } catch (IOException e) {
      throw new DatabaseException("There is no free port on the loopback interface: " + e, e);
    }
  }

  /** Processes of a server that was killed hold the cluster's memory for a moment longer than it lived. */
  private static final class StillInUseException extends RuntimeException {
    private static final long serialVersionUID = 1;

    StillInUseException(String message) {
      super(message);
    }
  }

  /** Someone else took the port between choosing it and binding it. */
  private static final class PortTakenException extends RuntimeException {
    private static final long serialVersionUID = 1;

    PortTakenException(String message) {
      super(message);
    }
  }
}
