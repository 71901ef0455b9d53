package dev.attune;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The service as a process of its own, to be killed, started twice and started wrongly. */
public final class ServiceProcess implements AutoCloseable {

  private static final Pattern URL = Pattern.compile("Search +(http://\\S+:\\d+)/");
  private static final Duration START = Duration.ofMinutes(8);

  private final Path dataDir;
  private final Process process;
  private final StringBuffer output = new StringBuffer();
  private final CompletableFuture<String> url = new CompletableFuture<>();
  private final Thread reader;

  private ServiceProcess(Path dataDir, Process process) {
    this.dataDir = dataDir;
    this.process = process;
    this.reader = Thread.ofVirtual().start(this::read);
  }

  /**
   * Starts the service on a free port with quiet defaults; {@code arguments} come last and win, those with {@code -X}
   * are for the virtual machine.
   */
  public static ServiceProcess start(Path dataDir, String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(
        Path.of(System.getProperty("java.home"), "bin/java").toString(),
        "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-Xmx1500m",
        "-XX:TieredStopAtLevel=1",
        // As system properties, which arguments override.
        "-Dserver.port=0",
        "-Dattune.data-dir=" + dataDir,
        "-Dattune.database.binaries-dir=" + Path.of("target/postgres-binaries").toAbsolutePath(),
        "-Dattune.demo.enabled=false",
        "-Dattune.retrieval.embed=none",
        "-Dattune.ranking.warm=none",
        "-Dattune.llm.model=" + dataDir.resolveSibling("no-model.gguf"),
        "-cp", System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
        AttuneApplication.class.getName()));
    for (String argument : arguments) {
      command.add(argument.startsWith("-X") ? command.indexOf("-cp") : command.size(), argument);
    }
    return new ServiceProcess(dataDir, new ProcessBuilder(command).redirectErrorStream(true).start());
  }

  private void read() {
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        output.append(line).append('\n');
        Matcher matcher = URL.matcher(line);
        if (matcher.find()) {
          url.complete(matcher.group(1));
        }
      }
    } catch (IOException e) {
      output.append(e);
    }
    url.completeExceptionally(new IllegalStateException("The service ended"));
  }

  /** Waits until the service is ready and returns its base URL. */
  public String awaitUrl() throws InterruptedException {
    try {
      return url.get(START.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException | TimeoutException e) {
      throw new IllegalStateException("The service did not start:\n" + output, e);
    }
  }

  /** Waits for the end and returns the exit code. */
  public int awaitExit() throws InterruptedException {
    if (!process.waitFor(START.toSeconds(), TimeUnit.SECONDS)) {
      throw new IllegalStateException("The service did not end:\n" + output);
    }
    reader.join();
    return process.exitValue();
  }

  public String output() {
    return output.toString();
  }

  /** As {@code kill -9}. */
  public void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** As {@code kill}: the service shuts down in order. */
  public int terminate() throws InterruptedException {
    process.destroy();
    return awaitExit();
  }

  /** Connects to the embedded database as the service does. */
  public Connection connect() throws SQLException {
    try {
      Path postgres = dataDir.resolve("postgres");
      return DriverManager.getConnection(
          "jdbc:postgresql://127.0.0.1:" + Files.readString(postgres.resolve("port")).strip() + "/attune",
          "attune",
          Files.readString(postgres.resolve("password")).strip());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() throws InterruptedException {
    if (process.isAlive()) {
      process.destroy();
      if (!process.waitFor(60, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    }
  }
}
