package dev.attune.search;

import dev.attune.ranking.Ranker;
import dev.attune.ranking.RankingPrompt;
import dev.attune.suggestion.Suggester;
import dev.attune.suggestion.Suggester.GivenPrompt;
import dev.attune.suggestion.SuggestionAnswer;
import dev.attune.web.Problems;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/**
 * Runs a search and its suggestions as a user would get them, and the same without the user. It leaves no trace:
 * nothing is logged, learned, counted or kept ready, and the user's turn at the model stays theirs. One simulation runs
 * at a time, since what it reads is held for it alone.
 */
@Component
public class Simulator {

  private static final Duration RETRY = Duration.ofSeconds(5);

  private final SearchPipeline pipeline;
  private final Ranker ranker;
  private final Suggester suggester;
  private final SearchProperties properties;
  private final Semaphore running = new Semaphore(1);

  Simulator(SearchPipeline pipeline, Ranker ranker, Suggester suggester, SearchProperties properties) {
    this.pipeline = pipeline;
    this.ranker = ranker;
    this.suggester = suggester;
    this.properties = properties;
  }

  /**
   * Both answers to one request.
   *
   * @param asUser what the user would get
   * @param withoutUser what anybody would get who is not known
   */
  public record Simulation(Outcome asUser, Outcome withoutUser) {}

  /**
   * One answer and how it came about.
   *
   * @param search always explained; its query id is in no log
   * @param rankingPrompt blocks and attention; null when no model ranked
   * @param suggestionPrompt null when no model wrote
   */
  public record Outcome(
      SearchAnswer search,
      @Nullable RankingPrompt rankingPrompt,
      SuggestionAnswer suggestions,
      @Nullable GivenPrompt suggestionPrompt) {}

  /**
   * Simulates a request of a user. Unless it names a budget, {@code attune.search.simulation-budget} holds.
   *
   * @throws org.springframework.web.ErrorResponseException 429 while another simulation runs
   * @throws dev.attune.llm.Admission.BusyException when too many requests are at the model
   */
  public Simulation simulate(SearchRequest request) {
    if (!running.tryAcquire()) {
      throw Problems.tooManyRequests("Another simulation is under way.", RETRY);
    }
    try {
      // What the first of the two reads the second finds.
      Ranker.Inspector inspector = ranker.inspector();
      SearchRequest simulated = request.simulated(properties.simulationBudget());
      return new Simulation(run(simulated, inspector), run(simulated.withoutUser(), inspector));
    } finally {
      running.release();
    }
  }

  private Outcome run(SearchRequest request, Ranker.Inspector inspector) {
    AtomicReference<@Nullable RankingPrompt> prompt = new AtomicReference<>();
    SearchAnswer answer =
        pipeline.search(
            request,
            work -> {
              Ranker.Inspection inspection = inspector.rank(work);
              prompt.set(inspection.prompt());
              return inspection.ranking();
            },
            retrieved -> {});
    Suggester.Suggestions suggestions =
        suggester.simulate(request.suggestions(SearchStream.SUGGESTIONS, request.budget()));
    return new Outcome(
        answer,
        answer.ranking().documents() == 0 ? null : prompt.get(),
        SuggestionAnswer.of(suggestions),
        suggestions.prompt());
  }
}
