package dev.attune.ranking;

import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Ranks candidates in context with BlockRank (arXiv 2510.05396). Thread-safe. */
public interface Ranker {

  /**
   * Scores the candidates that can be read within the budget; documents read before cost almost nothing.
   *
   * @return scores in the order of the candidates
   */
  Ranking rank(RankRequest request);

  /**
   * The same ranking for somebody who looks on: it leaves no trace and shows its prompt. What is stored is used without
   * that being a use of it; what has to be read is read for this inspector alone, and once for all that it ranks.
   */
  Inspector inspector();

  /** Ranks as the ranker does and shows the prompt. Not for use by several threads at a time. */
  interface Inspector {
    Inspection rank(RankRequest request);
  }

  /**
   * A ranking and its prompt.
   *
   * @param prompt null when no model took part
   */
  record Inspection(Ranking ranking, @Nullable RankingPrompt prompt) {}

  /**
   * What to rank.
   *
   * @param candidates in retrieval order; when the budget is short the first ones are read
   * @param memory the user's matching entities as text for the last block; empty without personalization
   * @param budget time for reading and ranking; null for the configured default
   */
  record RankRequest(String query, List<RankCandidate> candidates, List<String> memory, @Nullable Duration budget) {}

  /**
   * A text to rank.
   *
   * @param id identifies the document; null for a text that is not in the index and need not be kept
   */
  record RankCandidate(@Nullable String id, String title, String text) {}

  /**
   * The outcome.
   *
   * @param scores BlockRank mass per candidate, summing to 1 over those read; {@code NaN} for one that was not read
   * @param model model name, null when there is no model
   * @param documents candidates read
   * @param warmDocuments of those, how many were already in the document KV store
   * @param promptTokens tokens of all blocks
   * @param degraded null, or why fewer than all candidates were read: {@code budget}, {@code model}
   */
  record Ranking(
      double[] scores,
      @Nullable String model,
      int documents,
      int warmDocuments,
      int promptTokens,
      @Nullable String degraded) {}
}
