package dev.attune.suggestion;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Why something is suggested, in one plain sentence made of facts. */
final class Rationale {

  private static final Duration WEEK = Duration.ofDays(7);

  private Rationale() {}

  /**
   * The reason for a suggestion about an entity.
   *
   * @param seen times of the user's own events behind it, as far as they are known
   */
  static String of(Focus focus, List<Instant> seen, Instant now) {
    String label = focus.label();
    return switch (focus.mode()) {
      case null -> focus.viaLabel() == null
          ? "Goes with what you are looking at: " + label + "."
          : label + " goes with " + focus.viaLabel() + ", which you are looking at.";
      case FAMILIAR -> "Because you looked for " + label + " " + times(focus.count()) + when(focus, seen, now) + ".";
      case LAPSED -> "You looked for " + label + " " + times(focus.count()) + lapsed(focus.lastSeen(), now) + ".";
      case UNFAMILIAR -> focus.count() > 0
          ? "You looked for " + label + " only " + times(focus.count()) + when(focus, seen, now) + "."
          : focus.viaLabel() == null
          ? "New to you: " + label + " is close to what you look for."
          : "New to you: " + label + " goes with " + focus.viaLabel() + ", which you looked at.";
    };
  }

  /** A number of times in words. */
  static String times(int count) {
    return switch (count) {
      case 1 -> "once";
      case 2 -> "twice";
      default -> count + " times";
    };
  }

  private static String when(Focus focus, List<Instant> seen, Instant now) {
    long thisWeek = seen.stream().filter(time -> !time.isBefore(now.minus(WEEK))).count();
    if (focus.count() > 0 && thisWeek >= focus.count()) {
      return " this week";
    }
    return focus.lastSeen() == null ? "" : ", most recently " + ago(focus.lastSeen(), now);
  }

  private static String lapsed(@Nullable Instant lastSeen, Instant now) {
    return lastSeen == null ? "" : ", most recently " + ago(lastSeen, now);
  }

  /** How long ago in the largest unit that fits. */
  static String ago(Instant then, Instant now) {
    long days = Math.max(0, Duration.between(then, now).toDays());
    if (days < 1) {
      return "today";
    }
    if (days < 2) {
      return "yesterday";
    }
    if (days < 14) {
      return days + " days ago";
    }
    if (days < 60) {
      return days / 7 + " weeks ago";
    }
    return days < 730 ? days / 30 + " months ago" : days / 365 + " years ago";
  }
}
