package dev.attune.suggestion;

import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.searchlog.SearchLog;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** Suggestions without a model: entity pivots, completions, queries that several users asked. */
@Component
class BackOff {

  private static final Pattern ASIDE = Pattern.compile("\\([^)]*\\)");
  private static final Pattern UNTYPED = Pattern.compile("[^\\p{L}\\p{N}\\p{M}'’ -]+");
  private static final int NEIGHBOURS = 3;

  private final KnowledgeBase knowledgeBase;
  private final QueryCompletion completion;
  private final SearchLog searchLog;
  private final SuggestionProperties properties;

  BackOff(
      KnowledgeBase knowledgeBase,
      QueryCompletion completion,
      SearchLog searchLog,
      SuggestionProperties properties) {
    this.knowledgeBase = knowledgeBase;
    this.completion = completion;
    this.searchLog = searchLog;
    this.properties = properties;
  }

  /** Candidates, best first. */
  List<Proposal> propose(SuggestionContext context, int size) {
    List<Proposal> proposals = new ArrayList<>();
    context.focuses().forEach(focus -> proposals.addAll(combine(context, focus)));
    context.focuses().forEach(focus -> proposals.addAll(pivot(focus)));
    if (!context.query().isEmpty()) {
      for (QueryCompletion.Completion c : completion.complete(context.query(), context.userId(), 2 * size)) {
        proposals.add(new Proposal(typed(c.text()), null, reason(c.source()), 0.3));
      }
    }
    // The first word is enough to be about the same, the empty prefix is what people search for at all.
    String prefix = context.query().isEmpty() ? "" : context.query().split("\\s+", 2)[0];
    searchLog.popular(prefix, properties.minUsers(), 2 * size).forEach(
        query -> proposals.add(new Proposal(query.text(), null, "Several people searched for this.", 0.2)));
    return proposals;
  }

  private static List<Proposal> combine(SuggestionContext context, Focus focus) {
    String label = typed(focus.label());
    if (context.query().isEmpty() || QueryText.mentions(context.query(), label)) {
      return List.of();
    }
    return List.of(new Proposal(label + " " + typed(context.query()), focus, null, 0.6));
  }

  private List<Proposal> pivot(Focus focus) {
    String label = typed(focus.label());
    List<String> near =
        knowledgeBase.neighbours(focus.entityId()).stream().limit(NEIGHBOURS).map(Entity.Neighbour::id).toList();
    Map<String, Entity> found = knowledgeBase.findAll(near);
    List<Proposal> proposals = new ArrayList<>();
    for (Entity entity : near.stream().map(found::get).filter(Objects::nonNull).toList()) {
      proposals.add(new Proposal(label + " " + typed(entity.label()), focus, null, 0.4));
    }
    proposals.add(new Proposal(label, focus, null, 0.3));
    return proposals;
  }

  private static String reason(QueryCompletion.Source source) {
    return switch (source) {
      case OWN -> "You searched for this before.";
      case POPULAR -> "Several people searched for this.";
      case ENTITY -> "Completes what you typed.";
    };
  }

  /** A name as people type it. */
  static String typed(String label) {
    String plain = UNTYPED.matcher(ASIDE.matcher(label).replaceAll(" ")).replaceAll(" ");
    String words = plain.replaceAll(" +", " ").strip().toLowerCase(Locale.ROOT);
    return words.isEmpty() ? label.strip().toLowerCase(Locale.ROOT) : words;
  }

  /**
   * A candidate.
   *
   * @param focus entity that it is about, null for none
   * @param rationale null when the entity says why
   * @param weight in [0,1], lower than that of generated texts
   */
  record Proposal(String text, @Nullable Focus focus, @Nullable String rationale, double weight) {}
}
