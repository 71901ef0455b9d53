package dev.attune.evaluation;

import java.time.Duration;
import picocli.CommandLine.Option;

/** How far, and for how long, the log of the demo's simulated users is played. */
final class PlayOptions {

  @Option(names = "--last", defaultValue = "12",
      description = "Of each user, the last queries that may be asked for (default: ${DEFAULT-VALUE}).")
  private int last;

  @Option(names = "--minutes", defaultValue = "600",
      description = "When the time is over, what was asked until then counts (default: ${DEFAULT-VALUE}).")
  private int minutes;

  /** Of each user, the last queries that may be stopped at. */
  int last() {
    return last;
  }

  /** When to stop playing. */
  Duration time() {
    return Duration.ofMinutes(minutes);
  }
}
