package dev.attune.suggestion;

import dev.attune.suggestion.QueryGenerator.Text;
import dev.attune.suggestion.Suggester.EntityRef;
import dev.attune.suggestion.Suggester.Suggestion;
import dev.attune.suggestion.SuggestionFilter.Rejection;
import dev.attune.suggestion.SuggestionFilter.Verdict;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The suggestions of one request while they come: each proposal is judged, the first good one about an entity is told
 * at once and final, and the others about it are kept aside. Not thread-safe.
 */
final class SuggestionDraft {

  private final SuggestionContext context;
  private final int size;
  private final SuggestionFilter filter;
  private final double leastProbability;
  private final Map<String, Instant> times;
  private final Consumer<Suggestion> each;
  private final Consumer<Rejection> rejected;
  private final List<Suggestion> accepted = new ArrayList<>();
  private final List<Candidate> spare = new ArrayList<>();

  private record Candidate(
      String text, @Nullable Focus focus, @Nullable String rationale, double score, String source) {}

  /**
   * @param size most suggestions
   * @param leastProbability of a generated text
   * @param times of the events behind the entities
   * @param each is told every suggestion
   * @param rejected is told why a proposal was not taken
   */
  SuggestionDraft(
      SuggestionContext context,
      int size,
      SuggestionFilter filter,
      double leastProbability,
      Map<String, Instant> times,
      Consumer<Suggestion> each,
      Consumer<Rejection> rejected) {
    this.context = context;
    this.size = size;
    this.filter = filter;
    this.leastProbability = leastProbability;
    this.times = times;
    this.each = each;
    this.rejected = rejected;
  }

  boolean full() {
    return accepted.size() >= size;
  }

  /** Takes the first good one of the texts that were generated about an entity, and keeps the others aside. */
  void generated(List<Text> texts, Focus focus) {
    boolean done = false;
    for (Text text : texts) {
      if (text.probability() < leastProbability) {
        rejected.accept(Rejection.UNLIKELY);
        continue;
      }
      double confidence = 0.7 + 0.3 * text.probability();
      Candidate candidate = judged(text.text(), focus, null, confidence, "generated");
      if (candidate != null && done) {
        spare.add(candidate);
      } else if (candidate != null) {
        accept(candidate);
        done = true;
      }
    }
  }

  /** Fills up with what was kept aside, best first. */
  void useSpare() {
    spare.sort(Comparator.comparingDouble((Candidate c) -> -c.score()));
    for (Candidate candidate : spare) {
      boolean same = accepted.stream().anyMatch(s -> SuggestionFilter.same(s.text(), candidate.text()));
      if (!same && !full()) {
        accept(candidate);
      }
    }
  }

  void proposed(BackOff.Proposal proposal) {
    Candidate candidate =
        judged(proposal.text(), proposal.focus(), proposal.rationale(), proposal.weight(), "backoff");
    if (candidate != null) {
      accept(candidate);
    }
  }

  private @Nullable Candidate judged(
      String text, @Nullable Focus focus, @Nullable String rationale, double confidence, String source) {
    Verdict verdict = filter.judge(text, focus, context, accepted.stream().map(Suggestion::text).toList());
    if (verdict.rejection() != null) {
      rejected.accept(verdict.rejection());
    }
    return verdict.accepted()
        ? new Candidate(text, focus, rationale, SuggestionScore.of(text, focus, context, verdict, confidence), source)
        : null;
  }

  private void accept(Candidate candidate) {
    Focus focus = candidate.focus();
    List<Instant> seen =
        focus == null ? List.of() : focus.eventIds().stream().map(times::get).filter(Objects::nonNull).toList();
    String given = candidate.rationale();
    String rationale =
        given != null ? given : focus == null ? "Fits your search." : Rationale.of(focus, seen, context.now());
    Suggestion suggestion =
        new Suggestion(
            candidate.text(),
            focus == null ? null : focus.mode(),
            rationale,
            candidate.score(),
            focus == null ? List.of() : List.of(new EntityRef(focus.entityId(), focus.label())),
            focus == null ? List.of() : focus.eventIds(),
            candidate.source());
    accepted.add(suggestion);
    each.accept(suggestion);
  }

  /** What was accepted, best first. */
  List<Suggestion> best() {
    return accepted.stream().sorted(Comparator.comparingDouble((Suggestion s) -> -s.score())).toList();
  }
}
