package dev.attune.evaluation;

import dev.attune.demo.MovieCorpus;
import dev.attune.entity.EntityLinker;
import dev.attune.evaluation.SuggestionEvaluation.Arm;
import dev.attune.evaluation.SuggestionEvaluation.Score;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.SearchLog;
import dev.attune.suggestion.Suggester;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.springframework.stereotype.Component;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Evaluates suggestions for the simulated users of the demo on a service without any log. */
@Component
class SuggestionEvaluationRunner {

  private static final String USERS = "/demo/simulated-users.ndjson.gz";
  private static final int BATCH = 1000;

  private final SearchLog log;
  private final Suggester suggester;
  private final DocumentIndex index;
  private final EntityLinker linker;
  private final JsonMapper mapper;

  SuggestionEvaluationRunner(
      SearchLog log, Suggester suggester, DocumentIndex index, EntityLinker linker, JsonMapper mapper) {
    this.log = log;
    this.suggester = suggester;
    this.index = index;
    this.linker = linker;
    this.mapper = mapper;
  }

  /**
   * Plays the users' logs and prints a Markdown table.
   *
   * @param last queries asked for per user
   * @throws IllegalStateException when the data directory holds the users' logs already: the answers would be known
   */
  void run(int last, PrintWriter out) {
    List<ObjectNode> items = users();
    String first = items.getFirst().path("query_attributes").path("user_id").asString();
    if (!log.recentQueries(first, 1).isEmpty()) {
      throw new IllegalStateException(
          "This data directory holds the demo's logs, so the answers are known; name an empty one with "
              + "--attune.data-dir=DIRECTORY");
    }
    if (index.size() == 0) {
      out.println("Indexing the films");
      load();
    }
    Map<Arm, Score> scores = new SuggestionEvaluation(log, suggester, index, linker).run(items, last);
    out.println();
    out.println("Simulated users of the demo; the next query is real text from the movie judgments.");
    out.println();
    out.println(
        "| told | requests | MRR@5 | Success@5 | entity recall | valid | distinct | suggestions | ms (median) |");
    out.println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    scores.forEach(
        (arm, score) ->
            out.printf(
                Locale.ROOT,
                "| %s | %d | %.4f | %.4f | %.4f | %.4f | %.4f | %.2f | %.0f |%n",
                switch (arm) {
                  case QUERY -> "query";
                  case OTHER_USER -> "query + another user's store";
                  case OWN_USER -> "query + session + own store";
                },
                score.requests(),
                score.mrr(),
                score.success(),
                score.entityRecall(),
                score.valid(),
                score.distinct(),
                score.suggestionsPerRequest(),
                score.medianMillis()));
    out.flush();
  }

  private void load() {
    try (Stream<Document> films = MovieCorpus.read()) {
      List<Document> all = films.toList();
      for (int from = 0; from < all.size(); from += BATCH) {
        index.put(all.subList(from, Math.min(from + BATCH, all.size())));
      }
    }
  }

  private List<ObjectNode> users() {
    List<ObjectNode> items = new ArrayList<>();
    try (InputStream in = SuggestionEvaluationRunner.class.getResourceAsStream(USERS)) {
      if (in == null) {
        throw new IllegalStateException(USERS + " is not on the class path");
      }
      try (BufferedReader lines =
          new BufferedReader(new InputStreamReader(new GZIPInputStream(in), StandardCharsets.UTF_8))) {
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
          items.add((ObjectNode) mapper.readTree(line));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return items;
  }
}
