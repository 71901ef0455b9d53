package dev.attune.entity;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Cuts words of a query that were run together, as in "dressesusa", into words that people write and names. A word
 * that is known, or within a name, stays whole; so does one whose parts have no name that tells anything. Of several
 * ways the most likely counts, words being drawn independently (P. Norvig, Natural language corpus data, 2009).
 */
final class WordSplitter {

  private static final int LEAST_LETTERS = 6;
  private static final int MOST_CHARS = 64;
  /** Of one part between digits. */
  private static final int MOST_LETTERS = 32;
  private static final int MAX_PARTS = 3;
  /** A query stays short. */
  private static final int MOST_TOKENS = 36;
  private static final int LEAST_NAME = 3;
  /** Shorter ones are in many words by chance; they must be of something well known. */
  private static final int LONG_NAME = 5;
  private static final double WELL_KNOWN = 0.5;
  private static final int LEAST_WORD = 2;
  private static final int MOST_WORD = 16;
  /** Rarity up to which a word of two letters is one. */
  private static final double FUNCTION_WORD = 0.2;
  /** A space in an address. */
  private static final String ENCODED_SPACE = "20";

  /** Negative logarithms of probabilities: of a name, of any word of that many letters, of known words. */
  private static final double NAME = 11;
  private static final double UNKNOWN = 10.6;
  private static final double UNKNOWN_LETTER = 2.3;
  private static final double COMMONEST = 2.8;
  private static final double RAREST = 12.9;

  private final TextTokens tokens;
  private final List<NameWalker> walkers;
  private final CommonWords words;

  WordSplitter(TextTokens tokens, List<NameWalker> walkers, CommonWords words) {
    this.tokens = tokens;
    this.walkers = walkers;
    this.words = words;
  }

  /** The tokens with their words cut, or the same ones when there is none to cut outside of the given names. */
  TextTokens cut(List<Tagger.Span> spans) {
    int[][] cuts = null;
    int parts = tokens.size();
    int span = 0;
    for (int token = 0; token < tokens.size(); token++) {
      while (span < spans.size() && spans.get(span).lastToken() < token) {
        span++;
      }
      boolean named = span < spans.size() && spans.get(span).firstToken() <= token;
      int[] cut = named ? null : cut(token);
      parts += cut == null ? 0 : cut.length / 2 - 1;
      if (cut != null && parts <= MOST_TOKENS) {
        cuts = cuts == null ? new int[tokens.size()][] : cuts;
        cuts[token] = cut;
      }
    }
    return cuts == null ? tokens : tokens.cut(cuts);
  }

  /** Starts and ends of the parts of a token, or null if it is to stay whole. */
  private int @Nullable [] cut(int token) {
    int start = tokens.start(token);
    int length = tokens.end(token) - start;
    if (length < LEAST_LETTERS || length > MOST_CHARS || words.spelt(tokens.term(token))) {
      return null;
    }
    String text = tokens.text(start, start + length).toLowerCase(Locale.ROOT);
    if (!text.chars().allMatch(c -> c >= 'a' && c <= 'z' || c >= '0' && c <= '9')) {
      return null;
    }
    List<Integer> borders = new ArrayList<>();
    boolean encoded = false;
    boolean known = true;
    boolean telling = false;
    for (int from = 0, to; from < length; from = to) {
      to = runEnd(text, from);
      boolean digits = digit(text, from);
      if (digits && from > 0 && to < length && text.substring(from, to).equals(ENCODED_SPACE)) {
        encoded = true;
        continue;
      }
      borders.add(start + from);
      Parts parts = digits ? null : parts(text, from, to);
      known &= digits || parts != null;
      if (parts != null) {
        telling |= parts.telling;
        for (int border : parts.borders) {
          borders.add(start + border);
          borders.add(start + border);
        }
      }
      borders.add(start + to);
    }
    boolean cut = borders.size() > 2 && (encoded || known && telling);
    return cut ? borders.stream().mapToInt(Integer::intValue).toArray() : null;
  }

  private static boolean digit(String text, int at) {
    return text.charAt(at) <= '9';
  }

  private static int runEnd(String text, int from) {
    int to = from + 1;
    while (to < text.length() && digit(text, to) == digit(text, from)) {
      to++;
    }
    return to;
  }

  /** Where a run of letters is to be cut; nowhere if it is one known word. */
  private record Parts(int[] borders, boolean telling) {}

  /** The likeliest way to read letters as at most three known parts, if it is likelier than an unknown word. */
  private @Nullable Parts parts(String text, int from, int to) {
    int length = to - from;
    if (length > MOST_LETTERS) {
      return null;
    }
    Ways ways = new Ways(length);
    byte[] letters = text.substring(from, to).getBytes(StandardCharsets.US_ASCII);
    for (int at = 0; at < length; at++) {
      if (ways.reached(at)) {
        int here = at;
        for (int end = at + LEAST_WORD; end <= Math.min(length, at + MOST_WORD); end++) {
          double cost = cost(text.substring(from + at, from + end));
          if (cost < RAREST) {
            ways.offer(here, end, cost, 0, false);
          }
        }
        for (NameWalker walker : walkers) {
          walker.runTogether(letters, at, length, (end, spaces, commonness) -> {
            // "ers" is the plural of two letters rather than a name.
            int least = letters[end - 1] == 's' ? LEAST_NAME + 1 : LEAST_NAME;
            if (end - here >= LONG_NAME || end - here >= least && commonness >= WELL_KNOWN) {
              offer(ways, text, from, here, end, spaces);
            }
            if (end - here >= LONG_NAME && end < length && letters[end] == 's') {
              offer(ways, text, from, here, end + 1, spaces);
            }
          });
        }
      }
    }
    return ways.best(UNKNOWN + UNKNOWN_LETTER * length, from);
  }

  private void offer(Ways ways, String text, int from, int at, int end, long spaces) {
    boolean telling = spaces != 0 || !words.known(TextTokens.singular(text.substring(from + at, from + end)));
    ways.offer(at, end, NAME, spaces, telling);
  }

  private double cost(String word) {
    String term = TextTokens.singular(word);
    if (!words.known(term)) {
      return RAREST;
    }
    double rarity = words.rarity(term);
    return word.length() < LEAST_NAME && rarity > FUNCTION_WORD ? RAREST : COMMONEST + (RAREST - COMMONEST) * rarity;
  }

  /** The cheapest ways to get to each place in at most so many parts. */
  private static final class Ways {
    private final int length;
    private final double[][] costs;
    private final int[][] origins;
    private final long[][] spaces;
    private final boolean[][] telling;

    Ways(int length) {
      this.length = length;
      this.costs = new double[MAX_PARTS + 1][length + 1];
      this.origins = new int[MAX_PARTS + 1][length + 1];
      this.spaces = new long[MAX_PARTS + 1][length + 1];
      this.telling = new boolean[MAX_PARTS + 1][length + 1];
      for (double[] row : costs) {
        Arrays.fill(row, Double.POSITIVE_INFINITY);
      }
      costs[0][0] = 0;
    }

    boolean reached(int at) {
      for (int part = 0; part < MAX_PARTS; part++) {
        if (costs[part][at] < Double.POSITIVE_INFINITY) {
          return true;
        }
      }
      return false;
    }

    void offer(int at, int end, double cost, long inner, boolean tells) {
      for (int part = 0; part < MAX_PARTS; part++) {
        if (costs[part][at] + cost < costs[part + 1][end]) {
          costs[part + 1][end] = costs[part][at] + cost;
          origins[part + 1][end] = at;
          spaces[part + 1][end] = inner;
          telling[part + 1][end] = tells;
        }
      }
    }

    @Nullable Parts best(double bound, int offset) {
      int parts = 0;
      double least = bound;
      for (int part = 1; part <= MAX_PARTS; part++) {
        if (costs[part][length] < least) {
          least = costs[part][length];
          parts = part;
        }
      }
      if (parts == 0) {
        return null;
      }
      long borders = 0;
      boolean tells = false;
      int end = length;
      for (int part = parts; part > 0; part--) {
        borders |= spaces[part][end];
        tells |= telling[part][end];
        end = origins[part][end];
        borders |= 1L << end;
      }
      borders &= ~1L;
      int[] found = new int[Long.bitCount(borders)];
      for (int i = 0; i < found.length; i++) {
        found[i] = offset + Long.numberOfTrailingZeros(borders);
        borders &= borders - 1;
      }
      return new Parts(found, tells);
    }
  }
}
