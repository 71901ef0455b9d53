package dev.attune.suggestion;

import dev.attune.background.ForegroundTraffic;
import dev.attune.llm.Admission;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.searchlog.SearchLog;
import dev.attune.suggestion.QueryGenerator.Prepared;
import dev.attune.suggestion.QueryGenerator.Topic;
import dev.attune.suggestion.SuggestionFilter.Rejection;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;

/**
 * Suggests about the most relevant entities: the model writes a few queries about each, all at the same time, and the
 * best about an entity that passes the filter is final. What is missing then comes from the other samples and last from
 * the back-off.
 */
@Component
class KlampSuggester implements Suggester, SuggestionLadder {

  private static final Logger log = LoggerFactory.getLogger(KlampSuggester.class);

  /** Whose turn at the model a simulation takes: never the user's. */
  private static final String SIMULATION = "simulation";

  /** Kept of the budget for the back-off. */
  private static final Duration RESERVE = Duration.ofMillis(100);

  private final ContextReader reader;
  private final Models models;
  private final Admission admission;
  private final QueryGenerator generator;
  private final PromptPrefixes prefixes;
  private final Lexicon lexicon;
  private final SuggestionFilter filter;
  private final BackOff backOff;
  private final SearchLog searchLog;
  private final SuggestionMetrics metrics;
  private final ForegroundTraffic traffic;
  private final SuggestionProperties properties;

  KlampSuggester(
      ContextReader reader,
      Models models,
      Admission admission,
      QueryGenerator generator,
      PromptPrefixes prefixes,
      Lexicon lexicon,
      SuggestionFilter filter,
      BackOff backOff,
      SearchLog searchLog,
      SuggestionMetrics metrics,
      ForegroundTraffic traffic,
      SuggestionProperties properties) {
    this.reader = reader;
    this.models = models;
    this.admission = admission;
    this.generator = generator;
    this.prefixes = prefixes;
    this.lexicon = lexicon;
    this.filter = filter;
    this.backOff = backOff;
    this.searchLog = searchLog;
    this.metrics = metrics;
    this.traffic = traffic;
    this.properties = properties;
  }

  @Override
  public Suggestions suggest(SuggestionRequest request) {
    return suggest(request, each -> {});
  }

  @Override
  public Suggestions suggest(SuggestionRequest request, Consumer<Suggestion> each) {
    return suggest(request, Rung.BACK_OFF, each, true);
  }

  @Override
  public Suggestions suggest(SuggestionRequest request, Rung rung) {
    return suggest(request, rung, each -> {}, true);
  }

  @Override
  public Suggestions simulate(SuggestionRequest request) {
    return suggest(request, Rung.BACK_OFF, each -> {}, false);
  }

  private Suggestions suggest(SuggestionRequest request, Rung rung, Consumer<Suggestion> each, boolean real) {
    traffic.begin();
    try {
      Suggestions suggestions = new Run(request, rung, each, real).run();
      if (real) {
        metrics.answered(suggestions);
      }
      return suggestions;
    } finally {
      traffic.end();
    }
  }

  /** One request. */
  private final class Run {
    final SuggestionRequest request;
    final Rung rung;
    final Consumer<Suggestion> each;
    /** False for a simulation: nothing is counted or kept. */
    final boolean real;
    final long start = System.nanoTime();
    final Instant now = Instant.now();
    final Duration budget;
    final Set<String> degraded = new LinkedHashSet<>();
    final List<Continuation> continuations = new ArrayList<>();
    final Map<String, Long> timings = new LinkedHashMap<>();
    @Nullable Prepared prepared;
    int promptTokens;
    long cacheBytes;

    Run(SuggestionRequest request, Rung rung, Consumer<Suggestion> each, boolean real) {
      this.request = request;
      this.rung = rung;
      this.each = each;
      this.real = real;
      this.budget = request.budget() == null ? properties.budget() : request.budget();
    }

    Suggestions run() {
      long version = prefixes.version(request.userId());
      SuggestionContext context = context();
      if (real && request.userId() != null && context.userId() == null) {
        // Personalization is off: nothing of theirs is kept ready.
        prefixes.drop(request.userId());
      }
      if (!reader.entitiesLoaded()) {
        degraded.add("personalization");
      }
      SuggestionDraft draft =
          new SuggestionDraft(
              context, request.size(), filter, properties.leastProbability(), times(context), each, this::rejected);
      phase("contextMs", start);
      long generating = System.nanoTime();
      if (!context.focuses().isEmpty()) {
        Optional<LanguageModel> model = models.current(ModelRole.SUGGESTION);
        if (model.isEmpty()) {
          degraded.add("model");
        } else {
          String known = request.userId() == null ? request.sessionId() : request.userId();
          String caller = real ? known : SIMULATION;
          Duration left = remaining().minus(RESERVE);
          admission.<@Nullable Void, RuntimeException>admit(
              caller == null ? "" : caller,
              left.isPositive() ? left : Duration.ZERO,
              () -> {
                generate(model.get(), context, version, draft);
                return null;
              });
        }
      }
      phase("generateMs", generating);
      long backingOff = System.nanoTime();
      if (!draft.full() && rung == Rung.BACK_OFF) {
        backOff(context, draft);
      }
      phase("backOffMs", backingOff);
      phase("totalMs", start);
      return answer(draft.best());
    }

    private SuggestionContext context() {
      try {
        return reader.read(request, rung, now);
      } catch (RuntimeException e) {
        log.warn("The user's context could not be read, suggesting without it", e);
        degraded.add("personalization");
      }
      SuggestionRequest anonymous =
          new SuggestionRequest(
              null, null, request.query(), request.documentId(), request.page(), request.size(), Set.of(), budget);
      return reader.read(anonymous, Rung.QUERY, now);
    }

    private Map<String, Instant> times(SuggestionContext context) {
      List<String> ids = context.focuses().stream().flatMap(f -> f.eventIds().stream()).distinct().toList();
      Map<String, Instant> found = new HashMap<>();
      if (!ids.isEmpty()) {
        searchLog.queries(ids).forEach(query -> found.put(query.queryId(), query.timestamp()));
        searchLog.events(ids).forEach(event -> found.put(event.eventId(), event.timestamp()));
      }
      return found;
    }

    private void generate(LanguageModel model, SuggestionContext context, long version, SuggestionDraft draft) {
      try {
        Prepared ready = generator.prepare(model, context, real ? context.userId() : null, version);
        prepared = ready;
        promptTokens = ready.read().length();
        cacheBytes = ready.bytes();
        about(ready, context, draft, context.focuses(), focus -> BackOff.typed(focus.label()));
        // Once more in the order in which people add to what they typed.
        List<Focus> unmentioned =
            context.focuses().stream().filter(f -> !QueryText.mentions(context.query(), f.label())).toList();
        if (!context.query().isBlank()) {
          about(ready, context, draft, unmentioned, focus -> BackOff.typed(context.query()));
        }
        draft.useSpare();
      } catch (Admission.DeadlineExceededException e) {
        degraded.add("budget");
      } catch (RuntimeException e) {
        if (Thread.currentThread().isInterrupted()) {
          throw e;
        }
        log.warn("Generating suggestions failed, backing off", e);
        degraded.add("generation");
      }
    }

    /** Has queries about the entities written at the same time, each beginning with the given words. */
    private void about(
        Prepared ready,
        SuggestionContext context,
        SuggestionDraft draft,
        List<Focus> focuses,
        Function<Focus, String> first) {
      if (draft.full() || focuses.isEmpty()) {
        return;
      }
      List<Topic> topics =
          focuses.stream().map(f -> new Topic(f, first.apply(f), lexicon.words(context, f))).toList();
      Duration left = remaining().minus(RESERVE);
      if (!left.isPositive()) {
        degraded.add("budget");
        return;
      }
      if (!real) {
        topics.forEach(topic -> show(topic, ready.end(topic)));
      }
      generator.write(
          ready,
          topics,
          left,
          (topic, written) -> {
            promptTokens = Math.max(promptTokens, written.promptTokens());
            cacheBytes = Math.max(cacheBytes, written.cacheBytes());
            draft.generated(written.texts(), topic.focus());
            return !draft.full();
          });
      if (!draft.full() && !remaining().minus(RESERVE).isPositive()) {
        degraded.add("budget");
      }
    }

    private void show(Topic topic, @Nullable PromptText end) {
      if (end != null) {
        EntityRef entity = new EntityRef(topic.focus().entityId(), topic.focus().label());
        continuations.add(new Continuation(entity, end.text(), end.length()));
      }
    }

    private void backOff(SuggestionContext context, SuggestionDraft draft) {
      if (degraded.isEmpty()) {
        // Without an entity to write about the model was not asked.
        degraded.add(context.focuses().isEmpty() ? "context" : "generation");
      }
      try {
        for (BackOff.Proposal proposal : backOff.propose(context, request.size())) {
          if (draft.full()) {
            return;
          }
          draft.proposed(proposal);
        }
      } catch (RuntimeException e) {
        if (Thread.currentThread().isInterrupted()) {
          throw e;
        }
        log.warn("The back-off failed", e);
        degraded.add("backoff");
      }
    }

    private void rejected(Rejection rejection) {
      if (real) {
        metrics.rejected(rejection);
      }
    }

    private Suggestions answer(List<Suggestion> suggestions) {
      Prepared ready = prepared;
      return new Suggestions(
          suggestions,
          promptTokens,
          ready == null ? 0 : ready.cachedTokens(),
          ready == null ? "none" : ready.model().backend().kvPolicy(),
          cacheBytes,
          ready == null ? 0 : fullBytes(ready.model().config(), promptTokens),
          Map.copyOf(timings),
          List.copyOf(degraded),
          real || ready == null ? null : new GivenPrompt(ready.read().text(), List.copyOf(continuations)));
    }

    private Duration remaining() {
      return budget.minusNanos(System.nanoTime() - start);
    }

    private void phase(String name, long from) {
      timings.put(name, (System.nanoTime() - from) / 1_000_000);
    }
  }

  /** Bytes of keys and values of a sequence that keeps everything in 16 bits. */
  static long fullBytes(ModelConfig config, int tokens) {
    return 2L * 2L * config.layers() * config.kvHeads() * config.headSize() * tokens;
  }
}
