package dev.attune.entity;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.apache.lucene.util.fst.FST;
import org.jspecify.annotations.Nullable;

/** Walks the name automaton of one segment, byte by byte, from token border to token border; not thread-safe. */
final class NameWalker {

  /** Shorter names have too many neighbours. */
  private static final int LEAST_MISSPELT = 7;

  private final KnowledgeSnapshot.Part part;
  private final FST<Long> names;
  private final FST.BytesReader reader;
  /** Where a walk is; a walk with a mistake also needs where it may go on. */
  private final FST.Arc<Long> arc = new FST.Arc<>();

  private final FST.Arc<Long> nextArc = new FST.Arc<>();
  private final FST.Arc<Long> secondArc = new FST.Arc<>();
  private final FST.Arc<Long> restArc = new FST.Arc<>();
  private @Nullable TwoMistakes twice;
  private int lastToken;
  private int name;

  private NameWalker(KnowledgeSnapshot.Part part, FST<Long> names) {
    this.part = part;
    this.names = names;
    this.reader = names.getBytesReader();
  }

  static List<NameWalker> of(KnowledgeSnapshot snapshot) {
    List<NameWalker> walkers = new ArrayList<>();
    for (KnowledgeSnapshot.Part part : snapshot.parts()) {
      if (part.segment().names() != null) {
        walkers.add(new NameWalker(part, Objects.requireNonNull(part.segment().names())));
      }
    }
    return walkers;
  }

  /** Last token, before {@code end}, of the longest name with a live candidate that starts at the token, or -1. */
  int longest(TextTokens tokens, int first, int end) {
    lastToken = -1;
    try {
      byte[] bytes = tokens.bytes();
      names.getFirstArc(arc);
      long output = 0;
      for (int token = first; token < end; token++) {
        if (token > first) {
          if (names.findTargetArc(' ', arc, arc, reader) == null) {
            break;
          }
          output += arc.output();
        }
        for (int i = tokens.offset(token); i < tokens.offset(token + 1); i++) {
          if (names.findTargetArc(bytes[i] & 0xff, arc, arc, reader) == null) {
            return lastToken;
          }
          output += arc.output();
        }
        if (arc.isFinal()) {
          found((int) (output + arc.nextFinalOutput()), token);
        }
      }
    } catch (IOException e) {
      throw inMemory(e);
    }
    return lastToken;
  }

  /**
   * Last token of the longest name that the text, from the token on, has with one letter too many, too few, wrong or
   * exchanged with the next (F. J. Damerau, CACM 1964), or -1. The first letter and digits must be right.
   */
  int longestMisspelt(Stretch stretch) {
    lastToken = -1;
    if (stretch.length() >= LEAST_MISSPELT) {
      byte[] text = stretch.bytes();
      try {
        names.getFirstArc(arc);
        if (names.findTargetArc(text[0] & 0xff, arc, arc, reader) != null) {
          misspelt(arc.output(), stretch);
        }
      } catch (IOException e) {
        throw inMemory(e);
      }
    }
    return lastToken;
  }

  /** Goes on while text and name agree; at every place tries one mistake, after which the rest must agree. */
  private void misspelt(long first, Stretch stretch) throws IOException {
    byte[] text = stretch.bytes();
    int length = stretch.length();
    long output = first;
    for (int i = 1; i <= length; i++) {
      if (i < length && mayBeWrong(text[i])) {
        // One letter of the text too many.
        rest(arc, output, stretch, i + 1);
      }
      if (FST.targetHasArcs(arc)) {
        names.readFirstRealTargetArc(arc.target(), nextArc, reader);
        while (true) {
          mistake(nextArc, output, stretch, i);
          if (nextArc.isLast()) {
            break;
          }
          names.readNextRealArc(nextArc, reader);
        }
      }
      if (i == length || names.findTargetArc(text[i] & 0xff, arc, arc, reader) == null) {
        return;
      }
      output += arc.output();
    }
  }

  /** Tries the letter of {@code next} in place of what the text has. */
  private void mistake(FST.Arc<Long> next, long output, Stretch stretch, int i) throws IOException {
    byte[] text = stretch.bytes();
    int length = stretch.length();
    int label = next.label();
    if (!mayBeWrong((byte) label) || i < length && label == (text[i] & 0xff)) {
      return;
    }
    // A letter of the name is missing in the text.
    rest(next, output + next.output(), stretch, i);
    if (i < length && mayBeWrong(text[i])) {
      rest(next, output + next.output(), stretch, i + 1);
      if (i + 1 < length && label == (text[i + 1] & 0xff)) {
        if (names.findTargetArc(text[i] & 0xff, next, secondArc, reader) != null) {
          rest(secondArc, output + next.output() + secondArc.output(), stretch, i + 2);
        }
      }
    }
  }

  /** Takes the name if what is left of the text agrees. */
  private void rest(FST.Arc<Long> from, long output, Stretch stretch, int at) throws IOException {
    byte[] text = stretch.bytes();
    int length = stretch.length();
    FST.Arc<Long> here = restArc.copyFrom(from);
    long sum = output;
    for (int i = at; i <= length; i++) {
      if (here.isFinal() && i >= LEAST_MISSPELT && stretch.tokenEndingAt(i) > lastToken) {
        found((int) (sum + here.nextFinalOutput()), stretch.tokenEndingAt(i));
      }
      if (i == length || names.findTargetArc(text[i] & 0xff, here, here, reader) == null) {
        return;
      }
      sum += here.output();
    }
  }

  /**
   * Last token of the longest name that is two mistakes away from the text, or -1; of names that end there the most
   * common.
   */
  int longestTwiceMisspelt(Stretch stretch) {
    lastToken = -1;
    try {
      if (twice == null) {
        twice = new TwoMistakes(names, reader);
      }
      twice.walk(stretch, this::offer);
    } catch (IOException e) {
      throw inMemory(e);
    }
    return lastToken;
  }

  private void offer(int number, int token) {
    if (token > lastToken || token == lastToken && commonness(number) > commonness(name)) {
      found(number, token);
    }
  }

  private double commonness(int number) {
    double most = -1;
    for (int coded : part.segment().candidates(number)) {
      int row = KnowledgeSegment.row(coded);
      most = part.live(row) ? Math.max(most, part.segment().prior(row)) : most;
    }
    return most;
  }

  static boolean mayBeWrong(byte letter) {
    return letter < '0' || letter > '9';
  }

  /**
   * Reports where names end that start at a byte of a word, as the word has them or with their spaces left out, as in
   * "elpaso".
   */
  void runTogether(byte[] word, int from, int length, RunTogether found) {
    try {
      names.getFirstArc(arc);
      runTogether(new FST.Arc<Long>().copyFrom(arc), 0, word, from, length, 0, found);
    } catch (IOException e) {
      throw inMemory(e);
    }
  }

  @FunctionalInterface
  interface RunTogether {
    /**
     * @param spaces a bit for every place in the word where the name has a space
     * @param commonness of the most common entity of that name
     */
    void name(int end, long spaces, double commonness);
  }

  private void runTogether(FST.Arc<Long> here, long output, byte[] word, int at, int length, long spaces,
      RunTogether found) throws IOException {
    long sum = output;
    for (int i = at; i < length; i++) {
      if (names.findTargetArc(word[i] & 0xff, here, here, reader) == null) {
        return;
      }
      sum += here.output();
      double commonness = here.isFinal() ? commonness((int) (sum + here.nextFinalOutput())) : -1;
      if (commonness >= 0) {
        found.name(i + 1, spaces, commonness);
      }
      FST.Arc<Long> beyond = names.findTargetArc(' ', here, secondArc, reader);
      if (beyond != null && i + 1 < length) {
        runTogether(new FST.Arc<Long>().copyFrom(beyond), sum + beyond.output(), word, i + 1, length,
            spaces | 1L << i + 1, found);
      }
    }
  }

  private void found(int number, int token) {
    if (hasLive(number)) {
      lastToken = token;
      name = number;
    }
  }

  private boolean hasLive(int number) {
    if (part.dead() == null) {
      return true;
    }
    for (int row : part.segment().candidates(number)) {
      if (part.live(KnowledgeSegment.row(row))) {
        return true;
      }
    }
    return false;
  }

  /** Adds the candidates of the name that the last walk found, where it ends at the given token. */
  void addCandidates(int last, List<Tagger.Candidate> candidates) {
    if (lastToken != last) {
      return;
    }
    for (int coded : part.segment().candidates(name)) {
      int row = KnowledgeSegment.row(coded);
      if (part.live(row)) {
        candidates.add(new Tagger.Candidate(part.segment(), row, KnowledgeSegment.kind(coded)));
      }
    }
  }

  private static UncheckedIOException inMemory(IOException e) {
    return new UncheckedIOException("the name automaton is held in memory", e);
  }
}
