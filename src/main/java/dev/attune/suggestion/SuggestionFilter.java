package dev.attune.suggestion;

import dev.attune.entity.Entity;
import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.LinkContext;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** Decides whether a text may be suggested. */
@Component
class SuggestionFilter {

  private static final int MAX_LENGTH = 80;

  /** Suggestions that share this much of their words say the same. */
  private static final double SAME = 0.6;

  /** Least share of a suggestion's words besides the entity that one found document has to hold. */
  private static final double LEAST_COVERAGE = 0.5;

  private static final int FOUND = 5;

  private final DocumentIndex index;
  private final EntityLinker linker;
  private final KnowledgeBase knowledgeBase;
  private final BlockedTexts blocked;

  SuggestionFilter(
      DocumentIndex index, EntityLinker linker, KnowledgeBase knowledgeBase, BlockedTexts blocked) {
    this.index = index;
    this.linker = linker;
    this.knowledgeBase = knowledgeBase;
    this.blocked = blocked;
  }

  /**
   * Judges a text, cheapest checks first.
   *
   * @param focus entity that it has to mention, null for none
   * @param accepted texts that are suggested already
   */
  Verdict judge(String text, @Nullable Focus focus, SuggestionContext context, Collection<String> accepted) {
    Set<String> words = QueryText.words(text);
    if (words.isEmpty() || text.length() > MAX_LENGTH) {
      return Verdict.no(Rejection.FORM);
    }
    if (focus != null && !QueryText.mentions(text, focus.label())) {
      return Verdict.no(Rejection.OFF_TOPIC);
    }
    if (echoes(text, context)) {
      return Verdict.no(Rejection.ECHO);
    }
    if (accepted.stream().anyMatch(other -> same(text, other))) {
      return Verdict.no(Rejection.DUPLICATE);
    }
    if (blocked.matches(text) || sensitive(text, context)) {
      return Verdict.no(Rejection.UNSAFE);
    }
    double coverage = coverage(text, focus == null ? "" : focus.label());
    return coverage <= 0 ? Verdict.no(Rejection.DEAD_END) : new Verdict(null, coverage);
  }

  /** Whether two suggestions say the same in slightly other words. */
  static boolean same(String a, String b) {
    return QueryText.similarity(a, b) > SAME;
  }

  /** Whether it is what was asked before, or adds nothing to the current query. */
  static boolean echoes(String text, SuggestionContext context) {
    Set<String> words = QueryText.words(text);
    return QueryText.words(context.query()).containsAll(words)
        || ContextReader.asked(context).stream().anyMatch(asked -> QueryText.words(asked).equals(words));
  }

  private boolean sensitive(String text, SuggestionContext context) {
    List<String> ids = linker.link(text, LinkContext.NONE).stream().map(mention -> mention.entityId()).toList();
    return knowledgeBase.findAll(ids).values().stream().map(Entity::type).anyMatch(context.hiddenTypes()::contains);
  }

  /**
   * Largest share of the text's words, joining words aside, that one of the documents found holds. A document counts
   * only if it is about the entity and about what else is asked for.
   */
  private double coverage(String text, String label) {
    Set<String> words = QueryText.words(text);
    words.removeAll(LexiconGrammar.JOINING);
    if (words.isEmpty()) {
      return 0;
    }
    Set<String> name = new LinkedHashSet<>(QueryText.words(label));
    name.retainAll(words);
    Set<String> others = new LinkedHashSet<>(words);
    others.removeAll(name);
    RetrievalRequest request = new RetrievalRequest(text, Mode.LEXICAL, FOUND, Map.of(), List.of());
    return index.search(request).candidates().stream()
        .map(Candidate::document)
        .mapToDouble(document -> {
          Set<String> held = QueryText.words(allText(document));
          double rest = share(others, held);
          return held.containsAll(name) && rest >= LEAST_COVERAGE ? share(words, held) : 0;
        })
        .max()
        .orElse(0);
  }

  private static double share(Set<String> words, Set<String> held) {
    return words.isEmpty() ? 1 : (double) words.stream().filter(held::contains).count() / words.size();
  }

  private static String allText(Document document) {
    Stream<String> fields =
        document.fields().values().stream()
            .flatMap(value -> value instanceof Collection<?> list ? list.stream() : Stream.of(value))
            .map(String::valueOf);
    return Stream.concat(Stream.of(document.title(), document.text()), fields).collect(Collectors.joining(" "));
  }

  /** Why a text is not suggested; the label of a metric. */
  enum Rejection {
    FORM,
    OFF_TOPIC,
    ECHO,
    DUPLICATE,
    UNSAFE,
    DEAD_END,
    UNLIKELY
  }

  /**
   * The outcome.
   *
   * @param rejection null when it may be suggested
   * @param coverage in [0,1]: 1 when one document holds all of its words
   */
  record Verdict(@Nullable Rejection rejection, double coverage) {
    static Verdict no(Rejection rejection) {
      return new Verdict(rejection, 0);
    }

    boolean accepted() {
      return rejection == null;
    }
  }
}
