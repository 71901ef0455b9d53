package dev.attune.ranking;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import dev.attune.llm.Admission;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.ranking.Ranker.Ranking;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.security.Principal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.UUID;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpStatus;
import org.springframework.web.ErrorResponseException;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;
import tools.jackson.databind.JsonNode;

/**
 * Ranks texts of the caller, in the shape that Cohere, Jina and vLLM speak. The texts are read completely and kept
 * nowhere.
 *
 * <p>A relevance score is {@code n·m / (1 + n·m)} for a text that draws the share {@code m} of the attention among
 * {@code n} texts: 0.5 for an average text of its list, whatever the list's length. Scores of different lists are not
 * comparable beyond that.
 */
@Tag(name = "Rerank")
@RestController
class RerankController {

  private static final int MOST_DOCUMENTS = 500;

  /** No request is cut short: the answer must hold every text. */
  private static final Duration UNLIMITED = Duration.ofDays(1);

  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private final Ranker ranker;
  private final Models models;
  private final Admission admission;

  /** Keys and values of a list can take a gigabyte: one list at a time. */
  private final Semaphore turn = new Semaphore(1, true);

  RerankController(Ranker ranker, Models models, Admission admission) {
    this.ranker = ranker;
    this.models = models;
    this.admission = admission;
  }

  @Operation(summary = "Rank texts by how well they answer a query")
  @PostMapping("/v1/rerank")
  RerankAnswer rerank(@RequestBody RerankRequest request, @Nullable Principal principal) throws InterruptedException {
    String query = request.query();
    if (query == null || query.isBlank()) {
      throw Problems.badField("query", "must be a text");
    }
    List<RankCandidate> candidates = candidates(request.documents());
    Integer topN = request.topN();
    if (topN != null && topN < 1) {
      throw Problems.badField("top_n", "must be 1 or more");
    }
    if (models.current(ModelRole.RANKING).isEmpty()) {
      throw noModel();
    }
    Ranking ranking = admitted(new RankRequest(query, candidates, List.of(), UNLIMITED), principal);
    String model = ranking.model();
    if (model == null) {
      throw noModel();
    }
    double[] relevance =
        Arrays.stream(ranking.scores()).map(mass -> relevance(mass, candidates.size())).toArray();
    boolean withTexts = Boolean.TRUE.equals(request.returnDocuments());
    List<Result> results =
        IntStream.range(0, candidates.size())
            .boxed()
            .sorted(Comparator.comparingDouble((Integer i) -> -relevance[i]))
            .limit(topN == null ? candidates.size() : topN)
            .map(i -> new Result(i, relevance[i], withTexts ? new Text(candidates.get(i).text()) : null))
            .toList();
    return new RerankAnswer(UUID.randomUUID().toString(), model, results, new Usage(ranking.promptTokens()));
  }

  private Ranking admitted(RankRequest request, @Nullable Principal principal) throws InterruptedException {
    // A list that had its turn is ranked to its end.
    String caller = principal == null ? "" : principal.getName();
    try {
      return admission.<Ranking, InterruptedException>admit(caller, UNLIMITED, () -> rankInTurn(request));
    } catch (Admission.BusyException e) {
      throw Problems.tooManyRequests(String.valueOf(e.getMessage()) + '.', e.retryAfter());
    }
  }

  private Ranking rankInTurn(RankRequest request) throws InterruptedException {
    if (!turn.tryAcquire(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
      throw Problems.tooManyRequests("Other lists are being ranked; try again later.", PATIENCE);
    }
    try {
      return ranker.rank(request);
    } finally {
      turn.release();
    }
  }

  /** See the class comment; 0 for a text that did not fit into the list. */
  static double relevance(double mass, int n) {
    double share = Double.isNaN(mass) ? 0 : mass * n;
    return share / (1 + share);
  }

  private static List<RankCandidate> candidates(@Nullable List<JsonNode> documents) {
    if (documents == null || documents.isEmpty()) {
      throw Problems.badField("documents", "must hold at least one text");
    }
    if (documents.size() > MOST_DOCUMENTS) {
      throw Problems.badField(
          "documents", "holds %d texts, %d at most; send several lists".formatted(documents.size(), MOST_DOCUMENTS));
    }
    List<RankCandidate> candidates = new ArrayList<>(documents.size());
    for (JsonNode document : documents) {
      JsonNode text = document.isObject() ? document.path("text") : document;
      JsonNode title = document.path("title");
      if (!text.isString() || !(title.isMissingNode() || title.isString())) {
        throw Problems.badField(
            "documents[%d]".formatted(candidates.size()), "must be a string or an object with a string \"text\"");
      }
      candidates.add(new RankCandidate(null, title.isString() ? title.stringValue() : "", text.stringValue()));
    }
    return candidates;
  }

  private ErrorResponseException noModel() {
    Models.Status status = models.status();
    String message = status.message() == null ? "try again in a few seconds" : status.message();
    return Problems.of(
        HttpStatus.SERVICE_UNAVAILABLE,
        "The language model is %s: %s".formatted(status.state().name().toLowerCase(Locale.ROOT), message));
  }

  /**
   * What to rank.
   *
   * @param model accepted and ignored: one model runs, the answer names it
   * @param documents strings, or objects with {@code text} and perhaps {@code title}
   * @param topN how many results; all without it
   * @param returnDocuments whether results repeat the texts
   */
  record RerankRequest(
      @Nullable String model,
      @Nullable String query,
      @Nullable List<JsonNode> documents,
      @JsonProperty("top_n") @Nullable Integer topN,
      @JsonProperty("return_documents") @Nullable Boolean returnDocuments) {}

  record RerankAnswer(String id, String model, List<Result> results, Usage usage) {}

  @JsonInclude(JsonInclude.Include.NON_NULL)
  record Result(
      int index, @JsonProperty("relevance_score") double relevanceScore, @Nullable Text document) {}

  record Text(String text) {}

  record Usage(@JsonProperty("prompt_tokens") int promptTokens) {}
}
