package dev.attune.ranking;

import java.util.stream.IntStream;

/**
 * Which tokens of a document block keep their keys and values: those of the title, up to half of what is kept, and
 * evenly spaced ones of the rest. A plain rule; CompRank (arXiv 2606.11700) learns a better one from where the last
 * block looks.
 */
final class KeptTokens {

  /** Part of the fingerprint of what is stored: another rule is another number. */
  static final int RULE = 1;

  private KeptTokens() {}

  /**
   * Chooses tokens.
   *
   * @param titleStart first token of the title
   * @param titleEnd token after the title
   * @param share of the tokens to keep, in (0,1]
   * @return ascending, at least one
   */
  static int[] choose(int tokens, int titleStart, int titleEnd, double share) {
    int wanted = Math.max(1, (int) Math.ceil(share * tokens));
    if (wanted >= tokens) {
      return IntStream.range(0, tokens).toArray();
    }
    int title = Math.min(titleEnd - titleStart, wanted / 2);
    int[] others = IntStream.range(0, tokens).filter(i -> i < titleStart || i >= titleStart + title).toArray();
    int spaced = wanted - title;
    IntStream chosen = IntStream.range(0, spaced).map(i -> others[(int) ((i + 0.5) * others.length / spaced)]);
    return IntStream.concat(IntStream.range(titleStart, titleStart + title), chosen).sorted().toArray();
  }
}
