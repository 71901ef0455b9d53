package dev.attune.suggestion;

import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.knowledge.UserKnowledge;
import dev.attune.searchlog.SearchLog;
import dev.attune.searchlog.SearchLog.PopularQuery;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;

/** Completions from the user's own log, the k-anonymous log and the knowledge base. */
@Component
class SourcedCompletion implements QueryCompletion {

  private static final Logger log = LoggerFactory.getLogger(SourcedCompletion.class);

  private final SearchLog searchLog;
  private final UserKnowledge knowledge;
  private final KnowledgeBase knowledgeBase;
  private final SuggestionProperties properties;

  SourcedCompletion(
      SearchLog searchLog,
      UserKnowledge knowledge,
      KnowledgeBase knowledgeBase,
      SuggestionProperties properties) {
    this.searchLog = searchLog;
    this.knowledge = knowledge;
    this.knowledgeBase = knowledgeBase;
    this.properties = properties;
  }

  @Override
  public List<Completion> complete(String prefix, @Nullable String userId, int limit) {
    String typed = prefix.strip();
    if (typed.isEmpty()) {
      return List.of();
    }
    Map<String, Completion> completions = new LinkedHashMap<>();
    if (userId != null) {
      add(completions, limit, () -> own(userId, typed, limit));
    }
    add(completions, limit, () -> popular(typed, limit));
    add(completions, limit, () -> names(typed, limit));
    return List.copyOf(completions.values());
  }

  private List<Completion> own(String userId, String prefix, int limit) {
    if (!knowledge.settings(userId).personalization()) {
      return List.of();
    }
    // Names and popular queries are to be seen beside the own ones.
    return texts(searchLog.own(userId, prefix, Math.max(1, limit / 2)), Source.OWN);
  }

  private List<Completion> popular(String prefix, int limit) {
    return texts(searchLog.popular(prefix, properties.minUsers(), Math.max(1, limit / 2)), Source.POPULAR);
  }

  private List<Completion> names(String prefix, int limit) {
    List<Completion> names = new ArrayList<>();
    for (Entity entity : knowledgeBase.complete(prefix, limit)) {
      names.add(new Completion(entity.label(), Source.ENTITY, entity.id(), entity.type()));
    }
    return names;
  }

  private static List<Completion> texts(List<PopularQuery> queries, Source source) {
    return queries.stream().map(query -> new Completion(query.text(), source, null, null)).toList();
  }

  private static void add(Map<String, Completion> all, int limit, Supplier<List<Completion>> source) {
    try {
      for (Completion completion : source.get()) {
        if (all.size() < limit) {
          all.putIfAbsent(QueryText.normalize(completion.text()), completion);
        }
      }
    } catch (RuntimeException e) {
      log.warn("A source of completions failed", e);
    }
  }
}
