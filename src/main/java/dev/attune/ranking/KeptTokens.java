package dev.attune.ranking;

import java.util.Comparator;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Which tokens of a document block keep their keys and values, in this order until there are enough: the last token,
 * which has seen the whole document; the end of the title; the title, up to half of what is kept; then those with the
 * highest ids, each where it stands for the last time. A BPE vocabulary is ordered by frequency, so high ids are rare
 * words. A plain rule; CompRank (arXiv 2606.11700) learns one from where the last block looks.
 */
final class KeptTokens {

  /** Part of the fingerprint of what is stored: another rule is another number. */
  static final int RULE = 2;

  private KeptTokens() {}

  /**
   * Chooses tokens.
   *
   * @param document ids of the block
   * @param titleStart first token of the title: what is before is the same for all documents
   * @param titleEnd token after the title
   * @param share of the tokens to keep, in (0,1]
   * @return ascending indices, at least one
   */
  static int[] choose(int[] document, int titleStart, int titleEnd, double share) {
    int count = document.length;
    int wanted = Math.max(1, (int) Math.ceil(share * count));
    if (wanted >= count) {
      return IntStream.range(0, count).toArray();
    }
    int title = Math.min(titleEnd - titleStart, wanted / 2);
    boolean[] again = again(document);
    int[] group = new int[count];
    for (int i = 0; i < count; i++) {
      group[i] =
          i == count - 1 ? 0
              : i == titleEnd ? 1
              : i >= titleStart && i < titleStart + title ? 2
              : i < titleStart ? 5
              : again[i] ? 4 : 3;
    }
    // Of the same id, the later one: it has seen more.
    Comparator<Integer> rare = Comparator.<Integer>comparingInt(i -> -document[i]).thenComparingInt(i -> -i);
    Comparator<Integer> within = (a, b) -> group[a] == 3 || group[a] == 4 ? rare.compare(a, b) : Integer.compare(a, b);
    return IntStream.range(0, count)
        .boxed()
        .sorted(Comparator.<Integer>comparingInt(i -> group[i]).thenComparing(within))
        .limit(wanted)
        .mapToInt(Integer::intValue)
        .sorted()
        .toArray();
  }

  /** Whether the same token stands further behind too. */
  private static boolean[] again(int[] document) {
    boolean[] again = new boolean[document.length];
    Set<Integer> seen = new HashSet<>();
    for (int i = document.length - 1; i >= 0; i--) {
      again[i] = !seen.add(document[i]);
    }
    return again;
  }
}
