package dev.attune.suggestion;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.knowledge.Mode;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class RationaleTest {

  private static final Instant NOW = Instant.parse("2026-11-20T12:00:00Z");

  @Test
  void saysHowOftenAndWhen() {
    Instant yesterday = NOW.minus(Duration.ofHours(30));
    assertThat(Rationale.of(focus(Mode.FAMILIAR, 3, yesterday, null), List.of(yesterday, yesterday, NOW), NOW))
        .isEqualTo("Because you looked for Denis Villeneuve 3 times this week.");
    Instant old = NOW.minus(Duration.ofDays(10));
    assertThat(Rationale.of(focus(Mode.FAMILIAR, 2, old, null), List.of(old, old), NOW))
        .isEqualTo("Because you looked for Denis Villeneuve twice, most recently 10 days ago.");
    assertThat(Rationale.of(focus(Mode.LAPSED, 4, NOW.minus(Duration.ofDays(70)), null), List.of(), NOW))
        .isEqualTo("You looked for Denis Villeneuve 4 times, most recently 2 months ago.");
    assertThat(Rationale.of(focus(Mode.UNFAMILIAR, 1, NOW, null), List.of(NOW), NOW))
        .isEqualTo("You looked for Denis Villeneuve only once this week.");
  }

  @Test
  void saysWhatLedToSomethingNew() {
    assertThat(Rationale.of(focus(Mode.UNFAMILIAR, 0, null, "Arrival"), List.of(), NOW))
        .isEqualTo("New to you: Denis Villeneuve goes with Arrival, which you looked at.");
    assertThat(Rationale.of(focus(null, 0, null, "Arrival"), List.of(), NOW))
        .isEqualTo("Denis Villeneuve goes with Arrival, which you are looking at.");
  }

  /** A clock that runs ahead must not give negative times. */
  @Test
  void theFutureIsToday() {
    assertThat(Rationale.ago(NOW.plusSeconds(9_999_999), NOW)).isEqualTo("today");
  }

  private static Focus focus(@Nullable Mode mode, int count, @Nullable Instant last, @Nullable String via) {
    return new Focus("id", "Denis Villeneuve", "person", mode, 1, count, last, via, List.of());
  }
}
