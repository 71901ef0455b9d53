package dev.attune.entity;

/** How much a name tells: the sum of the rarities of its words. */
final class Linkability {

  private Linkability() {}

  /** Information of a match key; 0 for "the", about 1 for one telling word. */
  static double information(String matchKey, CommonWords words) {
    double sum = 0;
    for (String term : matchKey.split(" ")) {
      sum += words.rarity(term);
    }
    return sum;
  }
}
