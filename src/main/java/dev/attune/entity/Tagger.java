package dev.attune.entity;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Finds the names of a text, from left to right and without overlaps: at each place the longest, unless a longer one
 * starts within it. In short texts, which are queries, a name may have one wrong letter, or two where nothing else is
 * found, and words may be run together.
 */
final class Tagger {

  /** Longer texts are edited; looking for mistakes in them would cost more than it finds. */
  private static final int MAX_QUERY_TOKENS = 12;
  private static final int MAX_MISSPELT_TOKENS = 5;
  /** Walks for names with two mistakes, which cost most. */
  private static final int MAX_WALKS = 3;

  private TextTokens tokens;
  private final KnowledgeSnapshot snapshot;
  private final CommonWords words;
  private final List<NameWalker> walkers;
  private final boolean query;
  private final Stretch stretch = new Stretch();

  /** A tagger of one text; not thread-safe. */
  Tagger(TextTokens tokens, KnowledgeSnapshot snapshot, CommonWords words) {
    this.tokens = tokens;
    this.snapshot = snapshot;
    this.words = words;
    this.walkers = NameWalker.of(snapshot);
    this.query = tokens.size() <= MAX_QUERY_TOKENS;
  }

  /** What a name may mean. */
  record Candidate(KnowledgeSegment segment, int row, NameKind kind) {
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
    /** With two. */
    TWICE_MISSPELT,
    /** An override chose the only candidate. */
    FORCED
  }

  /**
   * A stretch of tokens that is a name.
   *
   * @param firstToken index of the first token
   * @param lastToken index of the last token, inclusive
   * @param candidates entities of that name, at least one in what {@link #tag} answers
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

  /** The tokens that the spans are counted in; after {@link #tag} words that were run together are several. */
  TextTokens tokens() {
    return tokens;
  }

  /** The names of the text. */
  List<Span> tag() {
    List<Span> spans = spans();
    if (query) {
      TextTokens cut = new WordSplitter(tokens, walkers, words).cut(spans);
      if (cut != tokens) {
        tokens = cut;
        spans = spans();
      }
      spans = withTwiceMisspelt(spans);
    }
    spans.removeIf(span -> span.candidates.isEmpty());
    return spans;
  }

  /** The names as they are written or with one mistake; a name that is blocked has no candidates. */

  private List<Span> spans() {
    int longestOverride = 0;
    for (String alias : snapshot.overrides().keySet()) {
      longestOverride = Math.max(longestOverride, alias.split(" ").length);
    }
    List<Span> spans = new ArrayList<>();
    int token = 0;
    while (token < tokens.size()) {
      Forced forced = longestOverride == 0 ? null : override(token, longestOverride);
      int last = longest(token, tokens.size());
      if (forced != null && forced.lastToken >= last) {
        List<Candidate> target = forced.target == null ? List.of() : List.of(forced.target);
        spans.add(new Span(token, forced.lastToken, target, Form.FORCED));
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

  /** Adds names with two mistakes where there are none without or with one. */
  private List<Span> withTwiceMisspelt(List<Span> spans) {
    List<Span> all = new ArrayList<>();
    int token = 0;
    int walks = 0;
    for (int i = 0; i <= spans.size(); i++) {
      int end = i < spans.size() ? spans.get(i).firstToken : tokens.size();
      while (token < end) {
        boolean likely = walks < MAX_WALKS && unusualLetters(token, Math.min(token + 1, end - 1)) >= TwoMistakes.LEAST;
        Span span = likely ? twiceMisspelt(token, end) : null;
        walks += likely ? 1 : 0;
        if (span != null) {
          all.add(span);
        }
        token = span == null ? token + 1 : span.lastToken + 1;
      }
      if (i < spans.size()) {
        all.add(spans.get(i));
        token = spans.get(i).lastToken + 1;
      }
    }
    return all;
  }

  private @Nullable Span twiceMisspelt(int token, int end) {
    stretch.set(tokens, token, Math.min(end, token + MAX_MISSPELT_TOKENS));
    int found = -1;
    for (NameWalker walker : walkers) {
      found = Math.max(found, walker.longestTwiceMisspelt(stretch));
    }
    return found < 0 || unusualLetters(token, found) < TwoMistakes.LEAST ? null
        : new Span(token, found, candidates(found), Form.TWICE_MISSPELT);
  }

  /** Letters of the words that nobody writes: only there may be two mistakes. */
  private int unusualLetters(int first, int last) {
    int letters = 0;
    for (int token = first; token <= last; token++) {
      boolean unusual = !words.spelt(tokens.term(token)) && !number(token);
      letters += unusual ? tokens.offset(token + 1) - tokens.offset(token) : 0;
    }
    return letters;
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
    stretch.set(tokens, token, Math.min(tokens.size(), token + MAX_MISSPELT_TOKENS));
    int found = -1;
    for (NameWalker walker : walkers) {
      found = Math.max(found, walker.longestMisspelt(stretch));
    }
    if (found <= last) {
      return null;
    }
    // Words that everybody writes are meant as they are: "french coffee" is not a misspelling.
    boolean unusual = false;
    for (int i = token; i <= found; i++) {
      unusual |= !words.known(tokens.term(i)) && !number(i);
    }
    return unusual ? new Span(token, found, candidates(found), Form.MISSPELT) : null;
  }

  private boolean number(int token) {
    return tokens.term(token).chars().allMatch(Character::isDigit);
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
            .map(found -> new Candidate(found.part().segment(), found.row(), NameKind.FULL)).orElse(null));
      }
    }
    return best;
  }
}
