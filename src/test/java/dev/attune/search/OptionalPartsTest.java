package dev.attune.search;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class OptionalPartsTest {

  private final OptionalParts parts = new OptionalParts();
  private final Degradation degradation = new Degradation();
  private final CountDownLatch started = new CountDownLatch(1);
  private final CountDownLatch mayEnd = new CountDownLatch(1);
  /** Whether the late part was interrupted. */
  private final CompletableFuture<Boolean> interrupted = new CompletableFuture<>();

  @AfterEach
  void stop() {
    parts.stop();
  }

  private Future<String> late() throws InterruptedException {
    Future<String> future = parts.start(() -> {
      started.countDown();
      try {
        mayEnd.await();
        interrupted.complete(false);
      } catch (InterruptedException e) {
        interrupted.complete(true);
      }
      return "late";
    });
    started.await();
    return future;
  }

  @Test
  void aLatePartGoesOnWithoutBeingInterrupted() throws Exception {
    assertThat(parts.await("personalization", late(), Duration.ofMillis(5), "fallback", degradation))
        .isEqualTo("fallback");
    mayEnd.countDown();
    assertThat(interrupted.get(10, TimeUnit.SECONDS)).isFalse();
    assertThat(degradation.parts()).containsExactly("personalization");
  }

  @Test
  void workThatHeedsItIsInterrupted() throws Exception {
    assertThat(parts.awaitOrInterrupt("ranking", late(), Duration.ofMillis(5), "fallback", degradation))
        .isEqualTo("fallback");
    assertThat(interrupted.get(10, TimeUnit.SECONDS)).isTrue();
  }

  @Test
  void aPartThatFailsLeavesItsFallback() {
    Future<String> failing = parts.start(() -> {
      throw new IllegalStateException("on purpose");
    });
    assertThat(parts.await("ranking", failing, Duration.ofSeconds(10), "fallback", degradation)).isEqualTo("fallback");
    assertThat(degradation.parts()).containsExactly("ranking");
  }
}
