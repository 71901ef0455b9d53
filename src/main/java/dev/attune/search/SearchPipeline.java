package dev.attune.search;

import dev.attune.background.ForegroundTraffic;
import dev.attune.llm.Admission;
import dev.attune.ranking.RankFusion;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.ranking.Ranker;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import dev.attune.retrieval.DocumentIndex.RetrievalResult;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.search.SearchRequest.RankingMode;
import dev.attune.search.UserContext.Overlap;
import dev.attune.searchlog.LoggedQuery;
import dev.attune.searchlog.SearchLog;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;

/** The way of a search: retrieve, rank, fuse with the user's interests, explain, log. */
@Component
class SearchPipeline implements Searcher {

  private static final Logger log = LoggerFactory.getLogger(SearchPipeline.class);

  /** Whose turn at the model it is when nobody's search runs. */
  private static final String SIMULATION = "simulation";

  /** Kept of the budget for putting the answer together. */
  private static final Duration RESERVE = Duration.ofMillis(10);

  private final DocumentIndex index;
  private final Ranker ranker;
  private final Admission admission;
  private final RankFusion fusion;
  private final Personalizer personalizer;
  private final SearchLog searchLog;
  private final OptionalParts parts;
  private final SearchMetrics metrics;
  private final ForegroundTraffic traffic;
  private final SearchProperties properties;

  SearchPipeline(
      DocumentIndex index,
      Ranker ranker,
      Admission admission,
      RankFusion fusion,
      Personalizer personalizer,
      SearchLog searchLog,
      OptionalParts parts,
      SearchMetrics metrics,
      ForegroundTraffic traffic,
      SearchProperties properties) {
    this.index = index;
    this.ranker = ranker;
    this.admission = admission;
    this.fusion = fusion;
    this.personalizer = personalizer;
    this.searchLog = searchLog;
    this.parts = parts;
    this.metrics = metrics;
    this.traffic = traffic;
    this.properties = properties;
  }

  @Override
  public SearchAnswer search(SearchRequest request) {
    return search(request, retrieved -> {});
  }

  @Override
  public SearchAnswer search(SearchRequest request, Consumer<SearchAnswer> retrieved) {
    return search(request, ranker::rank, retrieved);
  }

  /** The same with the ranking of somebody else. */
  SearchAnswer search(
      SearchRequest request, Function<RankRequest, Ranker.Ranking> ranking, Consumer<SearchAnswer> retrieved) {
    traffic.begin();
    try {
      SearchAnswer answer = new Run(request, ranking).answer(retrieved);
      if (request.record()) {
        metrics.answered(request, answer);
      }
      return answer;
    } finally {
      traffic.end();
    }
  }

  /** One search. */
  private final class Run {
    final SearchRequest request;
    final Function<RankRequest, Ranker.Ranking> ranking;
    final long start = System.nanoTime();
    final Instant now = Instant.now();
    final String queryId = UUID.randomUUID().toString();
    final Duration budget;
    final Degradation degradation = new Degradation();

    Run(SearchRequest request, Function<RankRequest, Ranker.Ranking> ranking) {
      this.request = request;
      this.ranking = ranking;
      this.budget = request.budget() == null ? properties.budget() : request.budget();
    }

    SearchAnswer answer(Consumer<SearchAnswer> retrievedConsumer) {
      boolean entities = request.userId() == null || personalizer.ready();
      if (!entities) {
        degradation.add(Degradation.PERSONALIZATION);
      }
      Future<UserContext> reading =
          parts.start(() -> entities ? personalizer.read(request, now) : UserContext.NOBODY);
      RetrievalResult result = retrieve();
      List<Candidate> candidates = result.candidates();
      long retrieveMs = elapsed();
      retrievedConsumer.accept(inRetrievalOrder(result, retrieveMs));

      UserContext user =
          parts.await(Degradation.PERSONALIZATION, reading, remaining(), UserContext.NOBODY, degradation);
      List<Document> documents = candidates.stream().map(Candidate::document).toList();
      Future<Overlap> overlapping = parts.start(() -> personalizer.overlap(user, documents, now));
      Ranker.Ranking ranking = rank(candidates, user.memory());
      Overlap overlap =
          parts.await(
              Degradation.PERSONALIZATION, overlapping, remaining(), Overlap.none(candidates.size()), degradation);
      RankFusion.Fused fused = fuse(candidates, ranking, overlap);
      int[] page = page(fused.order());
      List<List<SearchAnswer.Why>> why = why(user, overlap, page);
      long rankMs = elapsed() - retrieveMs;

      List<SearchAnswer.Hit> hits =
          IntStream.range(0, page.length)
              .mapToObj(
                  i -> {
                    int c = page[i];
                    double mass = ranking.scores()[c];
                    return hit(
                        candidates.get(c),
                        request.from() + i + 1,
                        fused.scores()[c],
                        Double.isNaN(mass) ? null : mass,
                        user.userId() == null ? null : overlap.affinity(c),
                        why.get(i),
                        overlap.contributions().get(c));
                  })
              .toList();
      record(hits);
      SearchAnswer.Ranking ranked =
          ranking.documents() == 0
              ? SearchAnswer.Ranking.NONE
              : new SearchAnswer.Ranking(
                  ranking.model(), "block-sparse", ranking.documents(), ranking.warmDocuments());
      return new SearchAnswer(
          queryId,
          result.total(),
          hits,
          request.facets().isEmpty() ? null : result.facets(),
          new SearchAnswer.Timings(retrieveMs, rankMs, elapsed()),
          ranked,
          degradation.parts(),
          request.explain() ? user.memory() : null);
    }

    private RetrievalResult retrieve() {
      int limit = Math.max(request.candidates(), request.from() + request.size());
      try {
        RetrievalResult result = index.search(retrieval(request.retrieval(), limit));
        result.degraded().forEach(degradation::add);
        return result;
      } catch (RuntimeException e) {
        log.warn("Retrieval failed", e);
        degradation.add(Degradation.RETRIEVAL);
      }
      if (request.retrieval() != DocumentIndex.Mode.LEXICAL) {
        try {
          return index.search(retrieval(DocumentIndex.Mode.LEXICAL, limit));
        } catch (RuntimeException e) {
          log.warn("Lexical retrieval failed", e);
        }
      }
      return new RetrievalResult(0, List.of(), Map.of());
    }

    private RetrievalRequest retrieval(DocumentIndex.Mode mode, int limit) {
      return new RetrievalRequest(request.query(), mode, limit, request.filters(), request.facets());
    }

    private Ranker.Ranking rank(List<Candidate> candidates, List<String> memory) {
      Ranker.Ranking unread = new Ranker.Ranking(unread(candidates.size()), null, 0, 0, 0, null);
      if (request.ranking() == RankingMode.RETRIEVAL || candidates.isEmpty() || request.query().isBlank()) {
        return unread;
      }
      Duration left = remaining().minus(RESERVE);
      if (!left.isPositive()) {
        degradation.add(Degradation.RANKING);
        return unread;
      }
      List<RankCandidate> texts =
          candidates.stream()
              .map(Candidate::document)
              .map(document -> new RankCandidate(document.id(), document.title(), document.text()))
              .toList();
      // Without a budget of its own the request leaves the choice to the ranker.
      RankRequest work = new RankRequest(request.query(), texts, memory, request.budget() == null ? null : left);
      Ranker.Ranking ranking =
          parts.awaitOrInterrupt(Degradation.RANKING, parts.start(() -> rank(work, left)), left, unread, degradation);
      if (ranking.degraded() != null) {
        degradation.add(Degradation.RANKING);
      }
      return ranking;
    }

    private Ranker.Ranking rank(RankRequest work, Duration left) {
      try {
        return admission.admit(caller(), left, () -> ranking.apply(work));
      } catch (Admission.BusyException | Admission.DeadlineExceededException e) {
        return new Ranker.Ranking(unread(work.candidates().size()), null, 0, 0, 0, "busy");
      }
    }

    private String caller() {
      String known = request.userId() == null ? request.sessionId() : request.userId();
      return !request.record() ? SIMULATION : known == null ? "" : known;
    }

    private RankFusion.Fused fuse(List<Candidate> candidates, Ranker.Ranking ranking, Overlap overlap) {
      if (request.ranking() == RankingMode.RETRIEVAL) {
        return new RankFusion.Fused(
            IntStream.range(0, candidates.size()).toArray(),
            candidates.stream().mapToDouble(Candidate::score).toArray());
      }
      return fusion.fuse(
          IntStream.range(0, candidates.size())
              .mapToObj(
                  i ->
                      new RankFusion.Evidence(
                          candidates.get(i).score(), ranking.scores()[i], overlap.affinity(i)))
              .toList());
    }

    private List<List<SearchAnswer.Why>> why(UserContext user, Overlap overlap, int[] page) {
      List<Map<String, Double>> contributions =
          Arrays.stream(page).mapToObj(c -> overlap.contributions().get(c)).toList();
      List<List<SearchAnswer.Why>> none = contributions.stream().map(c -> List.<SearchAnswer.Why>of()).toList();
      if (user.userId() == null) {
        return none;
      }
      return parts.await(
          Degradation.PERSONALIZATION,
          parts.start(() -> personalizer.reasons(user, contributions, now)),
          remaining().plus(RESERVE),
          none,
          degradation);
    }

    private SearchAnswer inRetrievalOrder(RetrievalResult result, long retrieveMs) {
      int[] page = page(IntStream.range(0, result.candidates().size()).toArray());
      List<SearchAnswer.Hit> hits =
          IntStream.range(0, page.length)
              .mapToObj(
                  i -> {
                    Candidate candidate = result.candidates().get(page[i]);
                    return hit(
                        candidate, request.from() + i + 1, candidate.score(), null, null, List.of(), Map.of());
                  })
              .toList();
      return new SearchAnswer(
          queryId,
          result.total(),
          hits,
          request.facets().isEmpty() ? null : result.facets(),
          new SearchAnswer.Timings(retrieveMs, 0, retrieveMs),
          SearchAnswer.Ranking.NONE,
          degradation.parts(),
          null);
    }

    private int[] page(int[] order) {
      int from = Math.min(request.from(), order.length);
      return Arrays.copyOfRange(order, from, Math.min(order.length, from + request.size()));
    }

    private SearchAnswer.Hit hit(
        Candidate candidate,
        int rank,
        double score,
        @Nullable Double blockrank,
        @Nullable Double affinity,
        List<SearchAnswer.Why> why,
        Map<String, Double> contributions) {
      Document document = candidate.document();
      return new SearchAnswer.Hit(
          document.id(),
          document.title(),
          candidate.snippet(),
          document.url(),
          document.image(),
          document.fields(),
          score,
          rank,
          candidate.rank(),
          new SearchAnswer.Scores(candidate.lexical(), candidate.dense(), blockrank, affinity),
          why,
          request.explain() ? new SearchAnswer.Explanation(candidate.score(), contributions) : null);
    }

    /** Further pages are the same query again: only the first one is a search of the user. */
    private void record(List<SearchAnswer.Hit> hits) {
      String userId = request.userId();
      if (userId == null || !request.record() || request.from() > 0 || request.query().isBlank()) {
        return;
      }
      List<String> shown = hits.stream().map(SearchAnswer.Hit::id).toList();
      LoggedQuery query =
          new LoggedQuery(queryId, userId, request.sessionId(), request.query(), now, shown, false);
      if (!personalizer.ready()) {
        // Learning from it has to wait for the entities, the answer has not.
        parts.start(Executors.callable(() -> searchLog.record(query)));
        return;
      }
      try {
        searchLog.record(query);
      } catch (RuntimeException e) {
        log.warn("The query could not be logged", e);
        degradation.add(Degradation.LOG);
      }
    }

    private long elapsed() {
      return Duration.ofNanos(System.nanoTime() - start).toMillis();
    }

    private Duration remaining() {
      return budget.minusNanos(System.nanoTime() - start);
    }
  }

  private static double[] unread(int n) {
    double[] scores = new double[n];
    Arrays.fill(scores, Double.NaN);
    return scores;
  }
}
