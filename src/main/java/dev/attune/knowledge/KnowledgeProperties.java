package dev.attune.knowledge;

import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotNull;
import jakarta.validation.constraints.Positive;
import jakarta.validation.constraints.PositiveOrZero;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of the knowledge stores.
 *
 * @param retentionDays evidence older than this is forgotten, unless the user chose another number of days
 * @param maxEvidence most pieces of evidence per user; the oldest are dropped first
 * @param maxEntities most entities per user; those with the least decayed interest are dropped first
 * @param halfLife time in which interest halves
 * @param lapsedAfter time without a sign of an entity after which it counts as lapsed
 * @param familiarCount from how many signs on an entity counts as familiar
 * @param queryWeight interest that an entity of a query gives
 * @param actionWeights interest that an entity of a visited page gives, by action; 0: the action is no interest.
 *     Actions that the search log does not take for a visit (impressions) never are
 * @param defaultActionWeight for actions that are not listed
 * @param fieldWeight factor for what a document's fields name, beside the document's own entity
 * @param entitiesPerField most entities learned from one field of a document, in the order of the field
 * @param mentionsPerPage most entities learned from the text of a page that is no indexed document
 * @param sensitiveTypes entity types that are learned and suggested only if the user allows them
 * @param cachedUsers stores kept in memory
 */
@Validated
@ConfigurationProperties("attune.knowledge")
public record KnowledgeProperties(
    @DefaultValue("1095") @Min(1) @Max(36500) int retentionDays,
    @DefaultValue("20000") @Min(10) int maxEvidence,
    @DefaultValue("2000") @Min(1) int maxEntities,
    @DefaultValue("30d") @NotNull Duration halfLife,
    @DefaultValue("14d") @NotNull Duration lapsedAfter,
    @DefaultValue("2") @Min(1) int familiarCount,
    @DefaultValue("1") @Positive double queryWeight,
    @Nullable Map<String, @PositiveOrZero Double> actionWeights,
    @DefaultValue("0.5") @PositiveOrZero double defaultActionWeight,
    @DefaultValue("0.5") @Positive double fieldWeight,
    @DefaultValue("3") @Min(0) int entitiesPerField,
    @DefaultValue("8") @Min(0) int mentionsPerPage,
    @DefaultValue({"health", "religion", "sexuality", "politics", "ethnicity"}) Set<String> sensitiveTypes,
    @DefaultValue("500") @Min(0) int cachedUsers) {

  private static final Map<String, Double> WEIGHTS = weights();

  public KnowledgeProperties {
    Map<String, Double> merged = new TreeMap<>(WEIGHTS);
    if (actionWeights != null) {
      actionWeights.forEach((action, weight) -> merged.put(action.toLowerCase(Locale.ROOT), weight));
    }
    actionWeights = Map.copyOf(merged);
    sensitiveTypes = Set.copyOf(sensitiveTypes);
    if (halfLife.isNegative() || halfLife.isZero()) {
      throw new IllegalArgumentException("attune.knowledge.half-life must be positive");
    }
  }

  private static Map<String, Double> weights() {
    Map<String, Double> weights = new TreeMap<>();
    for (String action : new String[] {"click", "click_through", "item_click", "product_click", "read", "watch"}) {
      weights.put(action, 1.0);
    }
    for (String action : new String[] {"view", "view_item", "page_view"}) {
      weights.put(action, 0.7);
    }
    for (String action : new String[] {"add_to_cart", "add_to_wishlist", "favorite", "like", "download"}) {
      weights.put(action, 2.0);
    }
    weights.put("purchase", 3.0);
    return weights;
  }

  double actionWeight(String action) {
    return Objects.requireNonNull(actionWeights).getOrDefault(
        action.toLowerCase(Locale.ROOT), defaultActionWeight);
  }
}
