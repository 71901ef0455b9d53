package dev.attune.entity;

import java.io.IOException;
import org.apache.lucene.util.fst.FST;

/**
 * Walks a name automaton for names that are two mistakes away from a text: rows of the matrix of optimal string
 * alignment are carried along the arcs, and a branch ends where no cell is within two (K. Oflazer, Error-tolerant
 * finite-state recognition, Computational Linguistics 22 (1996)). The first letter and digits must be right. Not
 * thread-safe.
 */
final class TwoMistakes {

  /** Shorter names have too many neighbours. */
  static final int LEAST = 8;

  private static final int MISTAKES = 2;
  /** So many letters have one mistake at most: beginnings are seldom wrong, and have the most branches. */
  private static final int BEGINNING = 3;
  private static final int MAX_DEPTH = Stretch.MAX_BYTES + MISTAKES + 1;
  /** A walk ends after so many arcs, whatever the text: thrice what it takes among a hundred thousand names. */
  private static final int MAX_ARCS = 4_000;

  private final FST<Long> names;
  private final FST.BytesReader reader;
  private final byte[][] rows = new byte[MAX_DEPTH + 1][Stretch.MAX_BYTES + 1];
  private final byte[] letters = new byte[MAX_DEPTH + 1];
  private final FST.Arc<Long>[] arcs;
  private final long[] outputs = new long[MAX_DEPTH + 1];

  @FunctionalInterface
  interface Found {
    void name(int number, int lastToken);
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  TwoMistakes(FST<Long> names, FST.BytesReader reader) {
    this.names = names;
    this.reader = reader;
    this.arcs = new FST.Arc[MAX_DEPTH + 1];
    for (int i = 0; i < arcs.length; i++) {
      arcs[i] = new FST.Arc<>();
    }
  }

  /** Reports every name that is two mistakes away from the text up to the end of a token. */
  void walk(Stretch stretch, Found found) throws IOException {
    int length = stretch.length();
    byte[] text = stretch.bytes();
    names.getFirstArc(arcs[0]);
    if (length < LEAST || names.findTargetArc(text[0] & 0xff, arcs[0], arcs[1], reader) == null) {
      return;
    }
    outputs[1] = arcs[1].output();
    letters[1] = text[0];
    first(text, length);
    int budget = MAX_ARCS;
    int depth = 1;
    boolean down = true;
    while (depth >= 1) {
      if (down && depth < MAX_DEPTH && FST.targetHasArcs(arcs[depth])) {
        names.readFirstRealTargetArc(arcs[depth].target(), arcs[depth + 1], reader);
        depth++;
      } else if (depth > 1 && !arcs[depth].isLast()) {
        names.readNextRealArc(arcs[depth], reader);
      } else {
        depth--;
        down = false;
        continue;
      }
      if (--budget < 0) {
        return;
      }
      FST.Arc<Long> arc = arcs[depth];
      letters[depth] = (byte) arc.label();
      outputs[depth] = outputs[depth - 1] + arc.output();
      down = row(depth, text, length) <= (depth <= BEGINNING ? 1 : MISTAKES);
      if (down && arc.isFinal() && depth >= LEAST) {
        report(depth, stretch, found, outputs[depth] + arc.nextFinalOutput());
      }
    }
  }

  private void report(int depth, Stretch stretch, Found found, long number) {
    for (int end = Math.max(LEAST, depth - MISTAKES); end <= Math.min(stretch.length(), depth + MISTAKES); end++) {
      if (rows[depth][end] == MISTAKES && stretch.tokenEndingAt(end) >= 0) {
        found.name((int) number, stretch.tokenEndingAt(end));
      }
    }
  }

  private void first(byte[] text, int length) {
    rows[1][0] = MISTAKES + 1;
    rows[1][1] = 0;
    for (int j = 2; j <= Math.min(length, 2 + MISTAKES); j++) {
      rows[1][j] = (byte) Math.min(MISTAKES + 1, rows[1][j - 1] + cost(text[j - 1]));
    }
  }

  /** Fills the cells near the diagonal that belong to the letter of that depth; returns the least. */
  private int row(int depth, byte[] text, int length) {
    byte[] row = rows[depth];
    byte[] above = rows[depth - 1];
    byte letter = letters[depth];
    int least = MISTAKES + 1;
    int from = Math.max(1, depth - MISTAKES);
    int to = Math.min(length, depth + MISTAKES);
    row[from - 1] = MISTAKES + 1;
    for (int j = from; j <= to; j++) {
      byte other = text[j - 1];
      int best = row[j - 1] + cost(other);
      if (j < depth + MISTAKES) {
        best = Math.min(best, above[j] + cost(letter));
      }
      best = Math.min(best, above[j - 1] + (letter == other ? 0 : Math.max(cost(letter), cost(other))));
      if (depth > 2 && j > 2 && letter != other && letter == text[j - 2] && letters[depth - 1] == other) {
        best = Math.min(best, rows[depth - 2][j - 2] + Math.max(cost(letter), cost(other)));
      }
      row[j] = (byte) Math.min(MISTAKES + 1, best);
      least = Math.min(least, row[j]);
    }
    return least;
  }

  private static int cost(byte letter) {
    return NameWalker.mayBeWrong(letter) ? 1 : MISTAKES + 1;
  }
}
