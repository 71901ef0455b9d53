package dev.attune.background;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

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
}
