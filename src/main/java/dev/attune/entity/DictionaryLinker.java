package dev.attune.entity;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Links names that the {@link Tagger} found. The evidence for a candidate adds up in log-odds:
 *
 * <ul>
 *   <li>how much the name tells ({@link Linkability}): "Inception" speaks for itself, "Up" does not;
 *   <li>how it is written: a whole query, capitals in the middle of a sentence, or lower case in edited text;
 *   <li>words around it that are in the candidate's description or speak for its type;
 *   <li>neighbours of the candidate in the session or among the other names of the text;
 *   <li>a bounded bonus for what the user met before;
 *   <li>less for a name that is misspelt, or of which the text has only a telling part or the given name;
 *   <li>less for a language whose name is also the adjective of a country, as in "french cheese".
 * </ul>
 *
 * The candidate with the most evidence plus log commonness wins; its confidence is the logistic of the evidence,
 * lowered when other candidates come close. Below the NIL threshold nothing is linked.
 */
final class DictionaryLinker implements EntityLinker, NameFinder {

  private static final double INFORMATION_WEIGHT = 5;
  /** Information at which a name alone is as likely a mention as not. */
  private static final double PROPER_NAME_INFORMATION = 0.9;
  private static final double COMMON_NOUN_INFORMATION = 0.35;
  /** Two letters are a short form and no word: "ca" is not the ordinary word calcium. */
  private static final int ACRONYM_LETTERS = 2;
  private static final double WHOLE_TEXT = 4;
  /** All but the words that speak for a type, as in "her movie". */
  private static final double WHOLE_TEXT_BESIDE_CUES = 3;
  private static final double CAPITALISED = 1.5;
  private static final double LOWER_CASE_IN_EDITED_TEXT = -2;
  /** Ordinary words are used for what they are in running text: a family is not the genre. */
  private static final double COMMON_NOUN_IN_RUNNING_TEXT = -1.5;
  private static final int RUNNING_TEXT_TOKENS = 12;
  private static final double TYPE_CUE = 1.2;
  private static final double DESCRIPTION_WORD = 1;
  private static final double MAX_DESCRIPTION = 2;
  private static final double RELATED = 1.5;
  private static final double MAX_RELATED = 3;
  private static final double MAX_USER = 0.75;
  private static final double PARTIAL = -2;
  /** "French" beside other words is of France more often than the language. */
  private static final double NOUN_OF_ADJECTIVE = -4;
  private static final double GIVEN = -2.25;
  private static final double MISSPELT = -1;
  private static final double TWICE_MISSPELT = -3.5;
  /** Names this far away still count as context. */
  private static final int WINDOW_TOKENS = 40;
  private static final int WINDOW_SPANS = 8;
  private static final int MAX_SCORED_CANDIDATES = 12;

  private final Supplier<KnowledgeSnapshot> knowledge;
  private final CommonWords words;
  private final EntityProperties properties;

  DictionaryLinker(Supplier<KnowledgeSnapshot> knowledge, CommonWords words, EntityProperties properties) {
    this.knowledge = knowledge;
    this.words = words;
    this.properties = properties;
  }

  @Override
  public List<Mention> link(String text, LinkContext context) {
    String cut = text.length() <= properties.maxTextChars() ? text : text.substring(0, properties.maxTextChars());
    KnowledgeSnapshot snapshot = knowledge.get();
    Tagger tagger = new Tagger(TextTokens.of(cut), snapshot, words);
    List<Tagger.Span> spans = tagger.tag();
    if (spans.isEmpty()) {
      return List.of();
    }
    Call call = new Call(tagger.tokens(), snapshot, context, spans);
    List<Mention> mentions = new ArrayList<>();
    for (int i = 0; i < spans.size(); i++) {
      Tagger.Span span = spans.get(i);
      if (!add(call, span, i, mentions) && span.lastToken() > span.firstToken()) {
        for (Tagger.Span inner : tagger.within(span)) {
          add(call, inner, i, mentions);
        }
      }
    }
    return mentions;
  }

  private boolean add(Call call, Tagger.Span span, int index, List<Mention> mentions) {
    Choice choice = call.choose(span, index);
    if (choice.confidence < properties.nilThreshold()) {
      return false;
    }
    int start = call.tokens.start(span.firstToken());
    int end = call.tokens.end(span.lastToken());
    mentions.add(new Mention(start, end, call.tokens.text(start, end), choice.entityId, choice.confidence));
    return true;
  }

  @Override
  public List<Name> find(String text) {
    Tagger tagger = new Tagger(TextTokens.of(text), knowledge.get(), words);
    List<Name> names = new ArrayList<>();
    List<Tagger.Span> spans = tagger.tag();
    TextTokens tokens = tagger.tokens();
    for (Tagger.Span span : spans) {
      names.add(name(tokens, span, false));
      if (span.form() != Tagger.Form.FORCED && span.lastToken() > span.firstToken()) {
        tagger.within(span).forEach(inner -> names.add(name(tokens, inner, true)));
      }
    }
    return names;
  }

  private static Name name(TextTokens tokens, Tagger.Span span, boolean inner) {
    return new Name(
        tokens.start(span.firstToken()),
        tokens.end(span.lastToken()),
        inner,
        span.candidates().stream()
            .map(c -> new Candidate(c.id(), c.prior() * Math.exp(partial(c))))
            .sorted(Comparator.comparingDouble((Candidate c) -> -c.prior()).thenComparing(Candidate::entityId))
            .toList());
  }

  /** How much less a part of a name speaks for an entity than the name. */
  private static double partial(Tagger.Candidate candidate) {
    return switch (candidate.kind()) {
      case PART -> PARTIAL;
      case GIVEN -> GIVEN;
      default -> 0;
    };
  }

  private record Choice(String entityId, double confidence) {}

  /** One text with what is computed once for it. */
  private final class Call {
    private final TextTokens tokens;
    private final KnowledgeSnapshot snapshot;
    private final LinkContext context;
    private final List<Tagger.Span> spans;
    /** Whether the text uses capitals and lower case, so that a capital means something. */
    private final boolean edited;
    private final Set<String> sessionIds = new HashSet<>();
    private final Map<String, Set<String>> neighbours = new HashMap<>();
    private final Map<String, Set<String>> descriptions = new HashMap<>();

    Call(TextTokens tokens, KnowledgeSnapshot snapshot, LinkContext context, List<Tagger.Span> spans) {
      this.tokens = tokens;
      this.snapshot = snapshot;
      this.context = context;
      this.spans = spans;
      boolean capital = false;
      boolean lower = false;
      for (int i = 0; i < tokens.size() && !(capital && lower); i++) {
        capital |= tokens.capitalised(i);
        lower |= tokens.lowerCase(i);
      }
      this.edited = capital && lower && tokens.size() > 2;
      context.sessionEntityIds().forEach(id -> sessionIds.add(snapshot.canonical(id)));
    }

    /** @param index of the span itself or of the longer one that it is in */
    Choice choose(Tagger.Span span, int index) {
      if (span.form() == Tagger.Form.FORCED) {
        return new Choice(span.candidates().getFirst().id(), 1);
      }
      double shared = sharedEvidence(span);
      double information = information(span);
      int count = Math.min(span.candidates().size(), MAX_SCORED_CANDIDATES);
      boolean acronym = span.firstToken() == span.lastToken()
          && tokens.term(span.firstToken()).length() <= ACRONYM_LETTERS;
      boolean adjective = false;
      for (int i = 0; i < count; i++) {
        adjective |= span.candidates().get(i).kind() == NameKind.DERIVED;
      }
      double[] evidence = new double[count];
      double[] scores = new double[count];
      int best = 0;
      for (int i = 0; i < count; i++) {
        Tagger.Candidate candidate = span.candidates().get(i);
        String type = candidate.type();
        boolean commonNoun = !acronym && properties.commonNounTypes().contains(type);
        boolean derived = candidate.kind() == NameKind.DERIVED;
        double needed = commonNoun ? COMMON_NOUN_INFORMATION : PROPER_NAME_INFORMATION;
        evidence[i] = INFORMATION_WEIGHT * (information - needed)
            + (commonNoun ? commonNounEvidence(shared) : derived ? derivedEvidence(shared) : shared)
            + described(candidate, derived ? "" : type, span)
            + related(candidate, index)
            + met(candidate)
            + partial(candidate)
            + (commonNoun && adjective && candidate.kind() == NameKind.FULL ? NOUN_OF_ADJECTIVE : 0)
            + switch (span.form()) {
              case MISSPELT -> MISSPELT;
              case TWICE_MISSPELT -> TWICE_MISSPELT;
              default -> 0;
            };
        scores[i] = evidence[i] + Math.log(candidate.prior() + 0.01);
        if (better(scores, i, best, span)) {
          best = i;
        }
      }
      double sum = 0;
      for (double score : scores) {
        sum += Math.exp(score - scores[best]);
      }
      double confidence = (0.7 + 0.3 / sum) / (1 + Math.exp(-evidence[best]));
      return new Choice(span.candidates().get(best).id(), confidence);
    }

    private double commonNounEvidence(double shared) {
      double running = tokens.size() > RUNNING_TEXT_TOKENS ? COMMON_NOUN_IN_RUNNING_TEXT : 0;
      return Math.max(0, shared) + running;
    }

    /** "French" has a capital wherever it stands. */
    private static double derivedEvidence(double shared) {
      return shared == CAPITALISED ? 0 : shared;
    }

    private boolean better(double[] scores, int i, int best, Tagger.Span span) {
      if (scores[i] != scores[best]) {
        return scores[i] > scores[best];
      }
      return i != best && span.candidates().get(i).id().compareTo(span.candidates().get(best).id()) < 0;
    }

    private double information(Tagger.Span span) {
      double information = 0;
      for (int token = span.firstToken(); token <= span.lastToken(); token++) {
        information += words.rarity(tokens.term(token));
      }
      return information;
    }

    /** Evidence that is the same for all candidates: how the name is written. */
    private double sharedEvidence(Tagger.Span span) {
      if (span.firstToken() == 0 && span.lastToken() == tokens.size() - 1) {
        return WHOLE_TEXT;
      }
      if (!edited) {
        return 0;
      }
      boolean anyLower = false;
      for (int token = span.firstToken(); token <= span.lastToken(); token++) {
        // Small words inside a title stay small.
        anyLower |= tokens.lowerCase(token) && (token == span.firstToken() || words.rarity(tokens.term(token)) > 0.3);
      }
      if (anyLower) {
        return LOWER_CASE_IN_EDITED_TEXT;
      }
      boolean opens = span.firstToken() == span.lastToken() && tokens.opensSentence(span.firstToken());
      return opens ? 0 : CAPITALISED;
    }

    private double described(Tagger.Candidate candidate, String type, Tagger.Span span) {
      Set<String> description = descriptions.computeIfAbsent(candidate.id(), id -> {
        Set<String> terms = new HashSet<>();
        TextTokens described = TextTokens.of(candidate.description());
        for (int i = 0; i < described.size(); i++) {
          terms.add(described.term(i));
        }
        return terms;
      });
      List<String> cues = properties.typeCues().getOrDefault(type, List.of());
      double sum = 0;
      boolean cue = false;
      Set<String> counted = new HashSet<>();
      int from = Math.max(0, span.firstToken() - WINDOW_TOKENS / 2);
      int to = Math.min(tokens.size(), span.lastToken() + 1 + WINDOW_TOKENS / 2);
      for (int token = from; token < to; token++) {
        if (token >= span.firstToken() && token <= span.lastToken()) {
          continue;
        }
        String term = tokens.term(token);
        if (description.contains(term) && counted.add(term)) {
          double rarity = words.rarity(term);
          sum += rarity >= 0.4 ? DESCRIPTION_WORD * rarity : 0;
        }
        boolean beside = tokens.size() <= RUNNING_TEXT_TOKENS
            || token >= span.firstToken() - 2 && token <= span.lastToken() + 2;
        cue |= beside && cues.contains(term);
      }
      double whole = cue && onlyCuesBeside(span, cues) ? WHOLE_TEXT_BESIDE_CUES : 0;
      return Math.min(MAX_DESCRIPTION, sum) + (cue ? TYPE_CUE : 0) + whole;
    }

    private boolean onlyCuesBeside(Tagger.Span span, List<String> cues) {
      if (tokens.size() > RUNNING_TEXT_TOKENS) {
        return false;
      }
      for (int token = 0; token < tokens.size(); token++) {
        boolean inside = token >= span.firstToken() && token <= span.lastToken();
        if (!inside && !cues.contains(tokens.term(token))) {
          return false;
        }
      }
      return true;
    }

    private double related(Tagger.Candidate candidate, int index) {
      String id = candidate.id();
      double sum = 0;
      for (String sessionId : sessionIds) {
        sum += sessionId.equals(id) || neighbours(id, sessionId) ? RELATED : 0;
        if (sum >= MAX_RELATED) {
          return MAX_RELATED;
        }
      }
      int from = Math.max(0, index - WINDOW_SPANS);
      int to = Math.min(spans.size(), index + WINDOW_SPANS + 1);
      for (int i = from; i < to; i++) {
        if (i != index && neighbourAmong(id, spans.get(i).candidates())) {
          sum += RELATED;
        }
      }
      return Math.min(MAX_RELATED, sum);
    }

    private boolean neighbourAmong(String id, List<Tagger.Candidate> others) {
      for (int i = 0; i < Math.min(3, others.size()); i++) {
        String other = others.get(i).id();
        if (!other.equals(id) && neighbours(id, other)) {
          return true;
        }
      }
      return false;
    }

    private boolean neighbours(String a, String b) {
      return stated(a).contains(b) || stated(b).contains(a);
    }

    /** The neighbours that an entity states itself; the other direction is stated by the other side. */
    private Set<String> stated(String id) {
      return neighbours.computeIfAbsent(id, key -> snapshot.statedNeighbours(key));
    }

    private double met(Tagger.Candidate candidate) {
      @Nullable Integer count = context.userCounts().isEmpty() ? null : context.userCounts().get(candidate.id());
      return count == null || count <= 0 ? 0 : Math.min(MAX_USER, 0.25 * Math.log1p(count));
    }
  }
}
