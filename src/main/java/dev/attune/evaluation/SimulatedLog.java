package dev.attune.evaluation;

import dev.attune.demo.MovieCorpus;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.KnowledgeImport;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.SearchLog;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * The log of the demo's simulated users, played in the order of time: real queries from the movie judgments, and clicks
 * on the films that are relevant to them. Before some of each user's last queries the player stops; nothing later has
 * been seen by any part of the service then.
 */
final class SimulatedLog {

  private static final String USERS = "/demo/simulated-users.ndjson.gz";
  private static final int BATCH = 1000;
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private final List<ObjectNode> items;

  private SimulatedLog(List<ObjectNode> items) {
    this.items = items;
  }

  /** The bundled log. */
  static SimulatedLog read() {
    List<ObjectNode> items = new ArrayList<>();
    try (InputStream in = Objects.requireNonNull(SimulatedLog.class.getResourceAsStream(USERS), USERS);
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(new GZIPInputStream(in), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        items.add((ObjectNode) MAPPER.readTree(line));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return of(items);
  }

  /** @param items UBI items with {@code seconds_ago} in place of a timestamp */
  static SimulatedLog of(List<ObjectNode> items) {
    return new SimulatedLog(
        items.stream().sorted((a, b) -> Long.compare(secondsAgo(b), secondsAgo(a))).toList());
  }

  /**
   * A moment at which a user is about to ask.
   *
   * @param stranger another user
   * @param before the query before in the same session; null for the first
   * @param query what they ask
   * @param clicked documents that they open then
   */
  record Moment(
      String user, String stranger, String session, @Nullable String before, String query, Set<String> clicked) {}

  /**
   * The moments to stop at: spread evenly over each user's last queries.
   *
   * @param last how many of each user's last queries may be stopped at
   * @param most moments at most, 0 for all
   * @param inSession whether only queries count that another one precedes in their session
   */
  List<Integer> moments(int last, int most, boolean inSession) {
    Map<String, Integer> remaining = new HashMap<>();
    items.stream().filter(SimulatedLog::isQuery).forEach(query -> remaining.merge(user(query), 1, Integer::sum));
    Set<String> begun = new HashSet<>();
    List<Integer> all = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      if (isQuery(items.get(i))) {
        boolean first = begun.add(user(items.get(i)) + " " + session(items.get(i)));
        if (remaining.merge(user(items.get(i)), -1, Integer::sum) < last && !(first && inSession)) {
          all.add(i);
        }
      }
    }
    if (most <= 0 || most >= all.size()) {
      return all;
    }
    List<Integer> some = new ArrayList<>();
    for (int i = 0; i < most; i++) {
      some.add(all.get((int) ((i + 0.5) * all.size() / most)));
    }
    return some;
  }

  /** Plays the log up to the last moment and stops at each; when the time is over, what is left is not played. */
  void play(SearchLog log, List<Integer> moments, Duration time, Consumer<Moment> each) {
    long deadline = System.nanoTime() + time.toNanos();
    Set<Integer> stops = Set.copyOf(moments);
    List<String> users =
        items.stream().filter(SimulatedLog::isQuery).map(SimulatedLog::user).distinct().sorted().toList();
    Map<String, String> previous = new HashMap<>();
    Instant now = Instant.now();
    int lastStop = moments.isEmpty() ? -1 : moments.getLast();
    for (int i = 0; i <= lastStop && System.nanoTime() < deadline; i++) {
      ObjectNode item = items.get(i);
      if (isQuery(item)) {
        String user = user(item);
        String text = item.path("user_query").asString();
        String before = previous.put(user + " " + session(item), text);
        if (stops.contains(i)) {
          String stranger = users.get((users.indexOf(user) + 1) % users.size());
          each.accept(new Moment(user, stranger, session(item), before, text, clicked(item)));
        }
      }
      ObjectNode timed = item.deepCopy();
      timed.put("timestamp", now.minusSeconds(secondsAgo(item)).toString());
      timed.remove("seconds_ago");
      log.ingest(Stream.<JsonNode>of(timed));
    }
  }

  /**
   * Prepares a service for the log: it must not know it yet, and needs the films with their vectors and the knowledge
   * base.
   *
   * @throws IllegalStateException when the data directory holds the users' logs already: the answers would be known
   */
  void prepare(
      SearchLog log, DocumentIndex index, KnowledgeBase knowledge, KnowledgeImport imports, PrintWriter out) {
    loadKnowledge(knowledge, imports, out);
    String first = user(items.getFirst());
    if (!log.recentQueries(first, 1).isEmpty()) {
      throw new IllegalStateException(
          "This data directory holds the demo's logs, so the answers are known; name an empty one with "
              + "--attune.data-dir=DIRECTORY");
    }
    if (index.size() == 0) {
      out.println("Indexing the films");
      out.flush();
      try (Stream<Document> films = MovieCorpus.read()) {
        List<Document> all = films.toList();
        for (int from = 0; from < all.size(); from += BATCH) {
          index.put(all.subList(from, Math.min(from + BATCH, all.size())));
        }
      }
    }
    VectorWait.until(index, "films", out);
  }

  /** Imports the bundled knowledge base where there is none. */
  static void loadKnowledge(KnowledgeBase knowledge, KnowledgeImport imports, PrintWriter out) {
    knowledge.awaitLoaded();
    if (knowledge.size() == 0) {
      out.println("Importing the bundled knowledge base");
      out.flush();
      imports.importBundled();
    }
  }

  private Set<String> clicked(ObjectNode query) {
    String id = query.path("query_id").asString();
    Set<String> clicked = new HashSet<>();
    for (ObjectNode item : items) {
      if (item.path("action_name").asString("").equals("click") && item.path("query_id").asString("").equals(id)) {
        clicked.add(item.path("event_attributes").path("object").path("object_id").asString());
      }
    }
    return clicked;
  }

  private static boolean isQuery(ObjectNode item) {
    return item.has("user_query");
  }

  private static String user(ObjectNode query) {
    return query.path("query_attributes").path("user_id").asString(query.path("client_id").asString(""));
  }

  private static String session(ObjectNode query) {
    return query.path("query_attributes").path("session_id").asString("");
  }

  private static long secondsAgo(ObjectNode item) {
    return item.path("seconds_ago").asLong();
  }
}
