package dev.attune.evaluation;

import dev.attune.entity.EntityLinker;
import dev.attune.entity.LinkContext;
import dev.attune.entity.Mention;
import dev.attune.evaluation.SimulatedLog.Moment;
import dev.attune.knowledge.Mode;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import dev.attune.suggestion.Suggester.Suggestion;
import dev.attune.suggestion.Suggester.SuggestionRequest;
import dev.attune.suggestion.SuggestionLadder;
import dev.attune.suggestion.SuggestionLadder.Rung;
import java.text.Normalizer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Asks for suggestions before a user's real next query, told more on each rung of the ladder. */
final class SuggestionEvaluation {

  private static final int SIZE = 5;
  private static final Duration UNHURRIED = Duration.ofMinutes(2);

  /** Whom the suggester is told of, and what. */
  enum Arm {
    QUERY("the query", Rung.QUERY),
    SESSION("+ session", Rung.SESSION),
    HISTORY("+ raw history", Rung.HISTORY),
    STORE("+ own entity store instead", Rung.STORE),
    BACK_OFF("+ back-off (the service)", Rung.BACK_OFF),
    OTHER_USER("the service, another user's store", Rung.BACK_OFF);

    final String title;
    private final Rung rung;

    Arm(String title, Rung rung) {
      this.title = title;
      this.rung = rung;
    }

    /** As options of a command write it. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  private final SuggestionLadder suggester;
  private final DocumentIndex index;
  private final EntityLinker linker;
  private final Map<Arm, List<Outcome>> outcomes = new EnumMap<>(Arm.class);

  /** @param arms to ask on */
  SuggestionEvaluation(SuggestionLadder suggester, DocumentIndex index, EntityLinker linker, Set<Arm> arms) {
    this.suggester = suggester;
    this.index = index;
    this.linker = linker;
    for (Arm arm : arms) {
      outcomes.put(arm, new ArrayList<>());
    }
  }

  /**
   * What one request gave.
   *
   * @param reciprocalRank of the real next query among the suggestions, 0 if it is not there
   * @param entityMatch 1 when a suggestion names an entity of the next query, else 0; {@code NaN} when it names none
   * @param valid suggestions that find a document
   * @param distinct suggestions that no earlier one repeats
   */
  record Outcome(double reciprocalRank, double entityMatch, int suggested, int valid, int distinct, double millis) {}

  /** Asks once on each rung. */
  void ask(Moment moment) {
    for (Arm arm : outcomes.keySet()) {
      boolean stranger = arm == Arm.OTHER_USER;
      @Nullable String user = arm == Arm.QUERY ? null : stranger ? moment.stranger() : moment.user();
      SuggestionRequest request =
          new SuggestionRequest(
              user,
              user == null || stranger ? null : moment.session(),
              moment.before(),
              null,
              null,
              SIZE,
              EnumSet.allOf(Mode.class),
              UNHURRIED);
      long start = System.nanoTime();
      List<Suggestion> suggestions = suggester.suggest(request, arm.rung).suggestions();
      double millis = (System.nanoTime() - start) / 1e6;
      of(arm).add(outcome(suggestions.stream().map(Suggestion::text).toList(), moment.query(), millis));
    }
  }

  List<Outcome> of(Arm arm) {
    return outcomes.getOrDefault(arm, List.of());
  }

  /** One value by request; requests whose value is {@code NaN}, the same on all rungs, are left out. */
  double[] values(Arm arm, ToDoubleFunction<Outcome> measure) {
    return of(arm).stream().mapToDouble(measure).filter(value -> !Double.isNaN(value)).toArray();
  }

  private Outcome outcome(List<String> suggestions, String target, double millis) {
    List<String> normal = suggestions.stream().map(SuggestionEvaluation::normal).toList();
    int rank = normal.indexOf(normal(target));
    Set<String> wanted = entities(target);
    boolean match = suggestions.stream().flatMap(text -> entities(text).stream()).anyMatch(wanted::contains);
    return new Outcome(
        rank < 0 ? 0 : 1.0 / (rank + 1),
        wanted.isEmpty() ? Double.NaN : match ? 1 : 0,
        suggestions.size(),
        (int) suggestions.stream().filter(this::findsSomething).count(),
        (int) normal.stream().distinct().count(),
        millis);
  }

  private Set<String> entities(String text) {
    return linker.link(text, LinkContext.NONE).stream().map(Mention::entityId).collect(Collectors.toSet());
  }

  private boolean findsSomething(String text) {
    return index.search(new RetrievalRequest(text, DocumentIndex.Mode.LEXICAL, 1, Map.of(), List.of())).total() > 0;
  }

  static String normal(String text) {
    return Normalizer.normalize(text.toLowerCase(Locale.ROOT), Normalizer.Form.NFKD)
        .replaceAll("\\p{M}", "")
        .replaceAll("[^\\p{L}\\p{N}]+", " ")
        .strip();
  }
}
