package dev.attune.ranking;

import org.jspecify.annotations.Nullable;

/** Reads documents in the background, so that the first search for them is as fast as the next. Thread-safe. */
public interface DocumentWarming {

  /** Starts a run over the documents, or starts over. Returns at once. */
  void start();

  Progress progress();

  /** What the background reader is doing. */
  enum State {
    /** Switched off with {@code attune.ranking.warm=none} and not started by hand. */
    OFF,
    /** No model yet. */
    WAITING_FOR_MODEL,
    RUNNING,
    /** Every document of the run is stored, or the store is full. */
    DONE
  }

  /**
   * The present run, and what is stored.
   *
   * @param planned documents that the run wants stored
   * @param done of these, how many were read or found in memory or on disk
   * @param residentDocuments documents in memory, which are those not on disk
   * @param residentBytes bytes of their keys and values
   * @param residentLimit most bytes that may be used
   * @param evicted documents dropped from memory to make room, since the start
   * @param storedDocuments documents on disk
   * @param storedBytes bytes of the files
   * @param storedLimit most bytes of the files, 0 when nothing is kept on disk
   * @param tokensPerSecond reading speed, null before the model is there
   */
  record Progress(
      State state,
      int planned,
      int done,
      int residentDocuments,
      long residentBytes,
      long residentLimit,
      long evicted,
      int storedDocuments,
      long storedBytes,
      long storedLimit,
      @Nullable Double tokensPerSecond) {}
}
