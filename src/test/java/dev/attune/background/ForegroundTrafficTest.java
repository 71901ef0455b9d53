package dev.attune.background;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

class ForegroundTrafficTest {

  @Test
  void waitsUntilEveryRequestHasEndedAndTheQuietTimeHasPassed() throws Exception {
    ForegroundTraffic traffic = new ForegroundTraffic();
    traffic.begin();
    traffic.begin();
    Duration quiet = Duration.ofMillis(50);
    CompletableFuture<Long> quietAt = new CompletableFuture<>();
    Thread background =
        Thread.ofVirtual()
            .start(
                () -> {
                  try {
                    traffic.awaitQuiet(quiet);
                    quietAt.complete(System.nanoTime());
                  } catch (InterruptedException e) {
                    quietAt.completeExceptionally(e);
                  }
                });
    traffic.end();
    assertThat(quietAt).isNotDone();
    long end = System.nanoTime();
    traffic.end();
    assertThat(quietAt.get(10, TimeUnit.SECONDS) - end).isGreaterThanOrEqualTo(quiet.toNanos());
    background.join();
  }

  @Test
  void aServiceThatIsNeverQuietGetsItsWorkDoneToo() throws Exception {
    ForegroundTraffic traffic = new ForegroundTraffic();
    traffic.begin();
    long start = System.nanoTime();
    traffic.awaitQuiet(Duration.ofMinutes(1), Duration.ofMillis(60));
    assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(Duration.ofMillis(60).toNanos());
  }

  @Test
  void nothingRunsBeforeTheServiceHasStarted() throws Exception {
    ForegroundTraffic traffic = new ForegroundTraffic();
    traffic.starting();
    CompletableFuture<Void> turn = new CompletableFuture<>();
    Thread.ofVirtual().start(() -> {
      try {
        traffic.awaitQuiet(Duration.ZERO, Duration.ofMillis(1));
        turn.complete(null);
      } catch (InterruptedException e) {
        turn.completeExceptionally(e);
      }
    });
    Thread.sleep(50);
    assertThat(turn).isNotDone();
    traffic.started();
    turn.get(10, TimeUnit.SECONDS);
  }

  /** The 17th field after the name in /proc/…/stat is the niceness (proc_pid_stat(5)). */
  @Test
  @EnabledOnOs(OS.LINUX)
  void backgroundThreadsHaveTheLowestPriority() throws Exception {
    CompletableFuture<String> stat = new CompletableFuture<>();
    BackgroundThread.of("lowest", () -> {
      try {
        stat.complete(Files.readString(Path.of("/proc/thread-self/stat")));
      } catch (IOException e) {
        stat.completeExceptionally(e);
      }
    }).start();
    String line = stat.get(10, TimeUnit.SECONDS);
    assertThat(line.substring(line.lastIndexOf(')') + 2).split(" ")[16]).isEqualTo("19");
    String own = Files.readString(Path.of("/proc/thread-self/stat"));
    assertThat(own.substring(own.lastIndexOf(')') + 2).split(" ")[16]).as("the caller's is as before")
        .isNotEqualTo("19");
  }
}
