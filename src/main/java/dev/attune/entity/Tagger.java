package dev.attune.entity;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Finds the names of a text, from left to right and without overlaps: at each place the longest, unless a longer one
 * starts within it. In short texts, which are queries, a name may have one wrong letter.
 */
final class Tagger {

  /** Longer texts are edited; looking for mistakes in them would cost more than it finds. */
  private static final int MAX_QUERY_TOKENS = 12;
  private static final int MAX_MISSPELT_TOKENS = 5;

  private final TextTokens tokens;
  private final KnowledgeSnapshot snapshot;
  private final CommonWords words;
  private final List<NameWalker> walkers;

  /** A tagger of one text; not thread-safe. */
  Tagger(TextTokens tokens, KnowledgeSnapshot snapshot, CommonWords words) {
    this.tokens = tokens;
    this.snapshot = snapshot;
    this.words = words;
    this.walkers = NameWalker.of(snapshot);
  }

  /**
   * What a name may mean.
   *
   * @param partial whether the text has only a telling part of the entity's name
   */
  record Candidate(KnowledgeSegment segment, int row, boolean partial) {
    String id() {
      return segment.id(row);
    }

    double prior() {
      return segment.prior(row);
    }

    String type() {
      return segment.type(row);
    }

    String description() {
      return segment.description(row);
    }
  }

  /** How a text comes to a name. */
  enum Form {
    /** As the knowledge base has it. */
    SPELT,
    /** With one wrong letter. */
    MISSPELT,
    /** An override chose the only candidate. */
    FORCED
  }

  /**
   * A stretch of tokens that is a name.
   *
   * @param firstToken index of the first token
   * @param lastToken index of the last token, inclusive
   * @param candidates entities of that name, at least one
   */
  record Span(int firstToken, int lastToken, List<Candidate> candidates, Form form) {}

  /** The names within a longer one, in case that one is not meant: "iron man" in "iron man movie". */
  List<Span> within(Span span) {
    List<Span> spans = new ArrayList<>();
    int token = span.firstToken;
    while (token <= span.lastToken) {
      // The whole is known already.
      int last = longest(token, token == span.firstToken ? span.lastToken : span.lastToken + 1);
      if (last >= 0) {
        spans.add(new Span(token, last, candidates(last), Form.SPELT));
      }
      token = Math.max(last, token) + 1;
    }
    return spans;
  }

  /** The names of the text. */
  List<Span> tag() {
    int longestOverride = 0;
    for (String alias : snapshot.overrides().keySet()) {
      longestOverride = Math.max(longestOverride, alias.split(" ").length);
    }
    boolean query = tokens.size() <= MAX_QUERY_TOKENS;
    List<Span> spans = new ArrayList<>();
    int token = 0;
    while (token < tokens.size()) {
      Forced forced = longestOverride == 0 ? null : override(token, longestOverride);
      int last = longest(token, tokens.size());
      if (forced != null && forced.lastToken >= last) {
        if (forced.target != null) {
          spans.add(new Span(token, forced.lastToken, List.of(forced.target), Form.FORCED));
        }
        token = forced.lastToken + 1;
        continue;
      }
      Span span = last < 0 ? null : new Span(token, last, candidates(last), Form.SPELT);
      Span misspelt = query ? misspelt(token, last) : null;
      if (misspelt != null) {
        spans.add(misspelt);
        token = misspelt.lastToken + 1;
      } else if (span != null && !longerWithin(token, last)) {
        spans.add(span);
        token = last + 1;
      } else {
        token++;
      }
    }
    return spans;
  }

  private int longest(int token, int end) {
    int last = -1;
    for (NameWalker walker : walkers) {
      last = Math.max(last, walker.longest(tokens, token, end));
    }
    return last;
  }

  /** Candidates of the name that the last walks found. */
  private List<Candidate> candidates(int last) {
    List<Candidate> candidates = new ArrayList<>();
    for (NameWalker walker : walkers) {
      walker.addCandidates(last, candidates);
    }
    return candidates;
  }

  /** Whether a longer name starts within the name: not "the rock" in "the rock and roll hall of fame". */
  private boolean longerWithin(int first, int last) {
    for (int token = first + 1; token <= last; token++) {
      int other = longest(token, tokens.size());
      if (other > last && other - token > last - first) {
        return true;
      }
    }
    return false;
  }

  /** A misspelt name of more words than the one that ends at {@code last}, if there is one and it is likely. */
  private @Nullable Span misspelt(int token, int last) {
    int end = Math.min(tokens.size(), token + MAX_MISSPELT_TOKENS);
    int found = -1;
    for (NameWalker walker : walkers) {
      found = Math.max(found, walker.longestMisspelt(tokens, token, end));
    }
    if (found <= last) {
      return null;
    }
    // Words that everybody writes are meant as they are: "french coffee" is not a misspelling.
    boolean unusual = false;
    for (int i = token; i <= found; i++) {
      unusual |= !words.known(tokens.term(i)) && !tokens.term(i).chars().allMatch(Character::isDigit);
    }
    return unusual ? new Span(token, found, candidates(found), Form.MISSPELT) : null;
  }

  private record Forced(int lastToken, @Nullable Candidate target) {}

  private @Nullable Forced override(int first, int longest) {
    Forced best = null;
    StringBuilder key = new StringBuilder();
    for (int last = first; last < tokens.size() && last < first + longest; last++) {
      key.append(last == first ? "" : " ").append(tokens.term(last));
      Optional<String> target = snapshot.overrides().get(key.toString());
      if (target != null) {
        // An override to an entity that is gone blocks the name.
        best = new Forced(last, target.map(snapshot::resolve)
            .map(found -> new Candidate(found.part().segment(), found.row(), false)).orElse(null));
      }
    }
    return best;
  }
}
