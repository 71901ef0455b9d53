package dev.attune.suggestion;

import dev.attune.suggestion.SuggestionFilter.Verdict;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** How good a suggestion is: relevance × novelty × personal fit × how sure the source is, in [0,1]. */
final class SuggestionScore {

  private SuggestionScore() {}

  static double of(String text, @Nullable Focus focus, SuggestionContext context, Verdict verdict, double sure) {
    double relevance = (focus == null ? 0.5 : 0.5 + 0.5 * clamp(focus.relevance())) * Math.sqrt(verdict.coverage());
    double closest =
        ContextReader.asked(context).stream().mapToDouble(asked -> QueryText.similarity(text, asked)).max().orElse(0);
    double novelty = 1 - 0.5 * closest;
    return clamp(relevance * novelty * fit(focus) * sure);
  }

  private static double fit(@Nullable Focus focus) {
    return switch (focus == null ? null : focus.mode()) {
      case null -> 0.5;
      case FAMILIAR -> 0.7 + 0.3 * Objects.requireNonNull(focus).count() / (focus.count() + 2.0);
      case LAPSED -> 0.8;
      case UNFAMILIAR -> 0.7;
    };
  }

  private static double clamp(double value) {
    return Math.clamp(value, 0, 1);
  }
}
