package dev.attune.entity;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.apache.lucene.util.fst.FST;

/** Walks the name automaton of one segment, byte by byte, from token border to token border; not thread-safe. */
final class NameWalker {

  /** Shorter names have too many neighbours. */
  private static final int LEAST_MISSPELT = 7;
  private static final int MOST_MISSPELT = 40;

  private final KnowledgeSnapshot.Part part;
  private final FST<Long> names;
  private final FST.BytesReader reader;
  /** Where a walk is; a walk with a mistake also needs where it may go on. */
  private final FST.Arc<Long> arc = new FST.Arc<>();

  private final FST.Arc<Long> nextArc = new FST.Arc<>();
  private final FST.Arc<Long> secondArc = new FST.Arc<>();
  private final FST.Arc<Long> restArc = new FST.Arc<>();
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
  int longestMisspelt(TextTokens tokens, int first, int end) {
    lastToken = -1;
    byte[] text = new byte[MOST_MISSPELT];
    int[] tokenEndingAt = new int[MOST_MISSPELT + 1];
    int length = 0;
    for (int token = first; token < end; token++) {
      int bytes = tokens.offset(token + 1) - tokens.offset(token) + (token > first ? 1 : 0);
      if (length + bytes > MOST_MISSPELT) {
        break;
      }
      if (token > first) {
        text[length++] = ' ';
      }
      System.arraycopy(tokens.bytes(), tokens.offset(token), text, length, tokens.offset(token + 1) - tokens.offset(token));
      length += tokens.offset(token + 1) - tokens.offset(token);
      tokenEndingAt[length] = token + 1;
    }
    if (length >= LEAST_MISSPELT) {
      try {
        names.getFirstArc(arc);
        if (names.findTargetArc(text[0] & 0xff, arc, arc, reader) != null) {
          misspelt(arc.output(), text, length, tokenEndingAt);
        }
      } catch (IOException e) {
        throw inMemory(e);
      }
    }
    return lastToken;
  }

  /** Goes on while text and name agree; at every place tries one mistake, after which the rest must agree. */
  private void misspelt(long first, byte[] text, int length, int[] tokenEndingAt) throws IOException {
    long output = first;
    for (int i = 1; i <= length; i++) {
      if (i < length && mayBeWrong(text[i])) {
        // One letter of the text too many.
        rest(arc, output, text, i + 1, length, tokenEndingAt);
      }
      if (FST.targetHasArcs(arc)) {
        names.readFirstRealTargetArc(arc.target(), nextArc, reader);
        while (true) {
          mistake(nextArc, output, text, i, length, tokenEndingAt);
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
  private void mistake(FST.Arc<Long> next, long output, byte[] text, int i, int length, int[] tokenEndingAt)
      throws IOException {
    int label = next.label();
    if (!mayBeWrong((byte) label) || i < length && label == (text[i] & 0xff)) {
      return;
    }
    // A letter of the name is missing in the text.
    rest(next, output + next.output(), text, i, length, tokenEndingAt);
    if (i < length && mayBeWrong(text[i])) {
      rest(next, output + next.output(), text, i + 1, length, tokenEndingAt);
      if (i + 1 < length && label == (text[i + 1] & 0xff)) {
        if (names.findTargetArc(text[i] & 0xff, next, secondArc, reader) != null) {
          rest(secondArc, output + next.output() + secondArc.output(), text, i + 2, length, tokenEndingAt);
        }
      }
    }
  }

  /** Takes the name if what is left of the text agrees. */
  private void rest(FST.Arc<Long> from, long output, byte[] text, int at, int length, int[] tokenEndingAt)
      throws IOException {
    FST.Arc<Long> here = restArc.copyFrom(from);
    long sum = output;
    for (int i = at; i <= length; i++) {
      if (here.isFinal() && i >= LEAST_MISSPELT && tokenEndingAt[i] > 0 && tokenEndingAt[i] - 1 > lastToken) {
        found((int) (sum + here.nextFinalOutput()), tokenEndingAt[i] - 1);
      }
      if (i == length || names.findTargetArc(text[i] & 0xff, here, here, reader) == null) {
        return;
      }
      sum += here.output();
    }
  }

  private static boolean mayBeWrong(byte letter) {
    return letter < '0' || letter > '9';
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
        candidates.add(new Tagger.Candidate(part.segment(), row, coded < 0));
      }
    }
  }

  private static UncheckedIOException inMemory(IOException e) {
    return new UncheckedIOException("the name automaton is held in memory", e);
  }
}
