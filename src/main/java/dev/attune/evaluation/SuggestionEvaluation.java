package dev.attune.evaluation;

import dev.attune.entity.EntityLinker;
import dev.attune.entity.LinkContext;
import dev.attune.entity.Mention;
import dev.attune.knowledge.Mode;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import dev.attune.searchlog.SearchLog;
import dev.attune.suggestion.Suggester;
import dev.attune.suggestion.Suggester.Suggestion;
import dev.attune.suggestion.Suggester.SuggestionRequest;
import java.text.Normalizer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Plays users' logs in the order of time and asks for suggestions before each of their last queries: the query that the
 * user really asked next is the answer looked for, and nothing later has been seen by any part of the service.
 */
final class SuggestionEvaluation {

  private static final int SIZE = 5;
  private static final Duration UNHURRIED = Duration.ofMinutes(2);

  /** What the suggester is told. */
  enum Arm {
    /** The last query alone, as for a stranger. */
    QUERY,
    /** The last query and somebody else's store. */
    OTHER_USER,
    /** The last query, the session and the user's own store. */
    OWN_USER
  }

  private final SearchLog log;
  private final Suggester suggester;
  private final DocumentIndex index;
  private final EntityLinker linker;

  SuggestionEvaluation(SearchLog log, Suggester suggester, DocumentIndex index, EntityLinker linker) {
    this.log = log;
    this.suggester = suggester;
    this.index = index;
    this.linker = linker;
  }

  /**
   * Plays a log.
   *
   * @param items UBI items with {@code seconds_ago} in place of a timestamp
   * @param last how many of each user's last queries are asked for
   */
  Map<Arm, Score> run(List<ObjectNode> items, int last) {
    List<ObjectNode> ordered =
        items.stream().sorted((a, b) -> Long.compare(secondsAgo(b), secondsAgo(a))).toList();
    Map<String, Integer> remaining = new HashMap<>();
    ordered.stream().filter(SuggestionEvaluation::isQuery).forEach(q -> remaining.merge(user(q), 1, Integer::sum));
    List<String> users = remaining.keySet().stream().sorted().toList();
    Instant now = Instant.now();
    Map<Arm, Score> scores = new LinkedHashMap<>();
    Map<String, String> previous = new HashMap<>();
    for (ObjectNode item : ordered) {
      if (isQuery(item)) {
        String user = user(item);
        String session = item.path("query_attributes").path("session_id").asString("");
        String before = previous.put(user + " " + session, item.path("user_query").asString());
        if (remaining.merge(user, -1, Integer::sum) < last && before != null) {
          String stranger = users.get((users.indexOf(user) + 1) % users.size());
          String target = item.path("user_query").asString();
          ask(scores, Arm.QUERY, null, null, before, target);
          ask(scores, Arm.OTHER_USER, stranger, null, before, target);
          ask(scores, Arm.OWN_USER, user, session, before, target);
        }
      }
      ObjectNode timed = item.deepCopy();
      timed.put("timestamp", now.minusSeconds(secondsAgo(item)).toString());
      timed.remove("seconds_ago");
      log.ingest(Stream.<JsonNode>of(timed));
    }
    return scores;
  }

  private void ask(
      Map<Arm, Score> scores,
      Arm arm,
      @Nullable String user,
      @Nullable String session,
      String query,
      String target) {
    SuggestionRequest request =
        new SuggestionRequest(user, session, query, null, null, SIZE, EnumSet.allOf(Mode.class), UNHURRIED);
    long start = System.nanoTime();
    List<Suggestion> suggestions = suggester.suggest(request).suggestions();
    scores.computeIfAbsent(arm, key -> new Score()).add(
        suggestions, target, (System.nanoTime() - start) / 1e6, this);
  }

  private Set<String> entities(String text) {
    return linker.link(text, LinkContext.NONE).stream().map(Mention::entityId).collect(Collectors.toSet());
  }

  private boolean findsSomething(String text) {
    return index.search(new RetrievalRequest(text, DocumentIndex.Mode.LEXICAL, 1, Map.of(), List.of())).total() > 0;
  }

  private static boolean isQuery(ObjectNode item) {
    return item.has("user_query");
  }

  private static String user(ObjectNode query) {
    return query.path("query_attributes").path("user_id").asString(query.path("client_id").asString(""));
  }

  private static long secondsAgo(ObjectNode item) {
    return item.path("seconds_ago").asLong();
  }

  static String normal(String text) {
    return Normalizer.normalize(text.toLowerCase(Locale.ROOT), Normalizer.Form.NFKD)
        .replaceAll("\\p{M}", "")
        .replaceAll("[^\\p{L}\\p{N}]+", " ")
        .strip();
  }

  /** Sums over the requests of one arm. */
  static final class Score {
    private final List<Double> millis = new ArrayList<>();
    private int requests;
    private double reciprocalRanks;
    private int successes;
    private int withEntities;
    private double entityRecall;
    private int suggested;
    private int valid;
    private int distinct;

    private void add(List<Suggestion> suggestions, String target, double ms, SuggestionEvaluation context) {
      requests++;
      millis.add(ms);
      for (int i = 0; i < suggestions.size(); i++) {
        if (normal(suggestions.get(i).text()).equals(normal(target))) {
          reciprocalRanks += 1.0 / (i + 1);
          successes++;
          break;
        }
      }
      Set<String> wanted = context.entities(target);
      if (!wanted.isEmpty()) {
        withEntities++;
        Set<String> offered =
            suggestions.stream().flatMap(s -> context.entities(s.text()).stream()).collect(Collectors.toSet());
        entityRecall += wanted.stream().filter(offered::contains).count() / (double) wanted.size();
      }
      suggested += suggestions.size();
      valid += (int) suggestions.stream().filter(s -> context.findsSomething(s.text())).count();
      distinct += (int) suggestions.stream().map(s -> normal(s.text())).distinct().count();
    }

    int requests() {
      return requests;
    }

    /** Mean reciprocal rank of the real next query. */
    double mrr() {
      return share(reciprocalRanks, requests);
    }

    /** Share of requests whose suggestions hold the real next query. */
    double success() {
      return share(successes, requests);
    }

    /** Share of the next query's entities that some suggestion names, over next queries that name one. */
    double entityRecall() {
      return share(entityRecall, withEntities);
    }

    /** Share of suggestions that find a document. */
    double valid() {
      return share(valid, suggested);
    }

    /** Share of suggestions that no earlier one of the same answer repeats. */
    double distinct() {
      return share(distinct, suggested);
    }

    double suggestionsPerRequest() {
      return share(suggested, requests);
    }

    double medianMillis() {
      return RankingEvaluation.median(millis.stream().mapToDouble(Double::doubleValue).toArray());
    }

    private static double share(double part, int whole) {
      return whole == 0 ? 0 : part / whole;
    }
  }
}
