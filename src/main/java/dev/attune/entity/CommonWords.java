package dev.attune.entity;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** How ordinary a word is. Names made of ordinary words ("It", "Up", "Mother") need more evidence to be linked. */
final class CommonWords {

  private static final String COMMON = "/kb/common-words.tsv.gz";
  private static final String RARE = "/kb/rare-words.txt.gz";

  private final Map<String, Double> rarities = new HashMap<>();
  private final Set<String> rare = new HashSet<>();
  private final long fingerprint;

  /** Reads the bundled lists, which {@code tools/build_kb.py} makes. */
  CommonWords() {
    Map<String, Integer> counts = new HashMap<>();
    int[] most = {1};
    BundledFile.forEachLine(COMMON, line -> {
      int tab = line.indexOf('\t');
      int count = Integer.parseInt(line.substring(tab + 1));
      most[0] = Math.max(most[0], count);
      counts.merge(TextTokens.matchKey(line.substring(0, tab)), count, Math::max);
    });
    BundledFile.forEachLine(RARE, line -> rare.add(TextTokens.matchKey(line)));
    double scale = Math.log1p(most[0]);
    counts.forEach((word, count) -> rarities.put(word, 1 - Math.log1p(count) / scale));
    fingerprint = counts.hashCode() * 31L + counts.size();
  }

  /**
   * Changes with the list behind {@link #known} and {@link #rarity}, which decide on the names of entities. Rare words
   * are left out: {@link #spelt} is asked about texts alone.
   */
  long fingerprint() {
    return fingerprint;
  }

  /** Whether the word is used in lower case at all. */
  boolean known(String term) {
    return rarities.containsKey(term);
  }

  /** Whether the word is known, or used in lower case now and then: it is neither misspelt nor several words. */
  boolean spelt(String term) {
    return rarities.containsKey(term) || rare.contains(term);
  }

  /** Rarity in [0,1]: 0 for "the", 1 for a word that is never used in lower case. Numbers are half ordinary. */
  double rarity(String term) {
    Double known = rarities.get(term);
    if (known != null) {
      return known;
    }
    boolean number = term.chars().allMatch(Character::isDigit);
    if (number) {
      return 0.4;
    }
    return term.length() <= 1 ? 0.1 : term.length() == 2 ? 0.4 : 1;
  }
}
