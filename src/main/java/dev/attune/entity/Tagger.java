package dev.attune.entity;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.apache.lucene.util.fst.FST;
import org.jspecify.annotations.Nullable;

/**
 * Finds the longest, non-overlapping names of a text, from left to right. It walks the name automata byte by byte,
 * but starts and stops at token borders only.
 */
final class Tagger {

  private Tagger() {}

  /**
   * A stretch of tokens that is a name.
   *
   * @param firstToken index of the first token
   * @param lastToken index of the last token, inclusive
   * @param candidates entities of that name, at least one
   * @param forced whether an override chose the only candidate
   */
  record Span(int firstToken, int lastToken, List<KnowledgeSnapshot.Found> candidates, boolean forced) {}

  /** The names within a longer one, in case that one is not meant: "iron man" in "iron man movie". */
  static List<Span> within(TextTokens tokens, KnowledgeSnapshot snapshot, Span span) {
    List<Walker> walkers = walkers(snapshot);
    List<Span> spans = new ArrayList<>();
    int token = span.firstToken;
    while (token <= span.lastToken) {
      // The whole is known already.
      int end = token == span.firstToken ? span.lastToken : span.lastToken + 1;
      int last = -1;
      for (Walker walker : walkers) {
        last = Math.max(last, walker.longest(tokens, token, end));
      }
      if (last >= 0) {
        spans.add(new Span(token, last, candidates(walkers, last), false));
      }
      token = Math.max(last, token) + 1;
    }
    return spans;
  }

  private static List<Walker> walkers(KnowledgeSnapshot snapshot) {
    List<Walker> walkers = new ArrayList<>();
    for (KnowledgeSnapshot.Part part : snapshot.parts()) {
      if (part.segment().names() != null) {
        walkers.add(new Walker(part, Objects.requireNonNull(part.segment().names())));
      }
    }
    return walkers;
  }

  private static List<KnowledgeSnapshot.Found> candidates(List<Walker> walkers, int last) {
    List<KnowledgeSnapshot.Found> candidates = new ArrayList<>();
    for (Walker walker : walkers) {
      walker.addCandidates(last, candidates);
    }
    return candidates;
  }

  static List<Span> tag(TextTokens tokens, KnowledgeSnapshot snapshot) {
    List<Walker> walkers = walkers(snapshot);
    int longestOverride = 0;
    for (String alias : snapshot.overrides().keySet()) {
      longestOverride = Math.max(longestOverride, alias.split(" ").length);
    }
    List<Span> spans = new ArrayList<>();
    int token = 0;
    while (token < tokens.size()) {
      Forced forced = longestOverride == 0 ? null : override(tokens, token, snapshot, longestOverride);
      int last = -1;
      for (Walker walker : walkers) {
        last = Math.max(last, walker.longest(tokens, token, tokens.size()));
      }
      if (forced != null && forced.lastToken >= last) {
        if (forced.target != null) {
          spans.add(new Span(token, forced.lastToken, List.of(forced.target), true));
        }
        token = forced.lastToken + 1;
      } else if (last >= 0) {
        spans.add(new Span(token, last, candidates(walkers, last), false));
        token = last + 1;
      } else {
        token++;
      }
    }
    return spans;
  }

  private record Forced(int lastToken, KnowledgeSnapshot.@Nullable Found target) {}

  private static @Nullable Forced override(
      TextTokens tokens, int first, KnowledgeSnapshot snapshot, int longest) {
    Forced best = null;
    StringBuilder key = new StringBuilder();
    for (int last = first; last < tokens.size() && last < first + longest; last++) {
      key.append(last == first ? "" : " ").append(tokens.term(last));
      Optional<String> target = snapshot.overrides().get(key.toString());
      if (target != null) {
        // An override to an entity that is gone blocks the name.
        best = new Forced(last, target.map(snapshot::resolve).orElse(null));
      }
    }
    return best;
  }

  /** Walks one automaton; not thread-safe. */
  private static final class Walker {
    private final KnowledgeSnapshot.Part part;
    private final FST<Long> names;
    private final FST.BytesReader reader;
    private final FST.Arc<Long> arc = new FST.Arc<>();
    private int lastToken;
    private int name;

    Walker(KnowledgeSnapshot.Part part, FST<Long> names) {
      this.part = part;
      this.names = names;
      this.reader = names.getBytesReader();
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
            int found = (int) (output + arc.nextFinalOutput());
            if (hasLive(found)) {
              lastToken = token;
              name = found;
            }
          }
        }
      } catch (IOException e) {
        throw new UncheckedIOException("the name automaton is held in memory", e);
      }
      return lastToken;
    }

    private boolean hasLive(int found) {
      if (part.dead() == null) {
        return true;
      }
      for (int row : part.segment().candidates(found)) {
        if (part.live(row)) {
          return true;
        }
      }
      return false;
    }

    void addCandidates(int last, List<KnowledgeSnapshot.Found> candidates) {
      if (lastToken != last) {
        return;
      }
      for (int row : part.segment().candidates(name)) {
        if (part.live(row)) {
          candidates.add(new KnowledgeSnapshot.Found(part, row));
        }
      }
    }
  }
}
