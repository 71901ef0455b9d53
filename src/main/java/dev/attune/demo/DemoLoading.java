package dev.attune.demo;

import java.time.Instant;
import org.jspecify.annotations.Nullable;

/** How far the demo data is. */
public interface DemoLoading {

  Progress progress();

  /** State of the whole demo. */
  enum State {
    /** Switched off, or the store held other data at the first start. */
    ABSENT,
    LOADING,
    LOADED,
    /** Stopped by an error; the next start goes on from there. */
    FAILED
  }

  /** Parts, in the order in which they are loaded. */
  enum Part {
    KNOWLEDGE_BASE,
    FILMS,
    SIMULATED_USERS
  }

  /**
   * Progress of the running part.
   *
   * @param part null before the first and after the last
   * @param done items of the part that are stored
   * @param total items of the part, 0 while unknown
   * @param startedAt of the first start, also when it was continued later; null if absent
   * @param error what went wrong, null if nothing did
   */
  record Progress(
      State state,
      @Nullable Part part,
      long done,
      long total,
      @Nullable Instant startedAt,
      @Nullable Instant finishedAt,
      @Nullable String error) {}
}
