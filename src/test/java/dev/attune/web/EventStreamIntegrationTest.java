package dev.attune.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.jdbc.core.simple.JdbcClient;

@AttuneIntegrationTest
class EventStreamIntegrationTest {

  @Autowired JdbcClient jdbc;

  @Test
  void workThatIsInterruptedKeepsItsConnectionToTheDatabase() throws Exception {
    CompletableFuture<String> outcome = new CompletableFuture<>();
    EventStream.open(
        Duration.ofMillis(200),
        Duration.ofMillis(50),
        sender -> {
          try {
            String written = jdbc.sql("select 'written' from pg_sleep(1)").query(String.class).single();
            outcome.complete(written + (Thread.currentThread().isInterrupted() ? " after the interrupt" : ""));
          } catch (RuntimeException e) {
            outcome.completeExceptionally(e);
          }
        },
        () -> {});
    assertThat(outcome.get(30, TimeUnit.SECONDS)).isEqualTo("written after the interrupt");
  }
}
