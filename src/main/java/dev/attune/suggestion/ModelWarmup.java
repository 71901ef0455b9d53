package dev.attune.suggestion;

import dev.attune.background.ForegroundTraffic;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.suggestion.QueryGenerator.Prepared;
import dev.attune.suggestion.QueryGenerator.Topic;
import jakarta.annotation.PreDestroy;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/**
 * Generates once when the model has been loaded, so that the first request finds the instruction read and the code
 * compiled. Nobody's data is used.
 */
@Component
class ModelWarmup {

  private static final Logger log = LoggerFactory.getLogger(ModelWarmup.class);
  private static final Duration POLL = Duration.ofMillis(500);
  private static final Duration QUIET = Duration.ofMillis(250);
  private static final Duration LIMIT = Duration.ofSeconds(20);

  private final Models models;
  private final QueryGenerator generator;
  private final ForegroundTraffic traffic;
  private @Nullable Thread thread;

  ModelWarmup(Models models, QueryGenerator generator, ForegroundTraffic traffic) {
    this.models = models;
    this.generator = generator;
    this.traffic = traffic;
  }

  @EventListener(ApplicationReadyEvent.class)
  void begin() {
    thread = Thread.ofPlatform().name("suggestion-warmup").daemon().start(this::run);
  }

  @PreDestroy
  void stop() throws InterruptedException {
    if (thread != null) {
      thread.interrupt();
      thread.join(LIMIT);
    }
  }

  private void run() {
    try {
      while (models.status().state() == Models.State.LOADING) {
        Thread.sleep(POLL);
      }
      LanguageModel model = models.current(ModelRole.SUGGESTION).orElse(null);
      if (model != null) {
        traffic.awaitQuiet(QUIET);
        warm(model);
      }
    } catch (InterruptedException e) {
      log.debug("Warming up stops");
    } catch (RuntimeException e) {
      log.debug("Warming up failed; requests will say why", e);
    }
  }

  private void warm(LanguageModel model) {
    long start = System.nanoTime();
    Set<String> words = Set.of("classic", "films", "new", "series", "short", "stories");
    List<Topic> topics =
        List.of(topic("Space Opera", words), topic("Detective Fiction", words), topic("Nature Documentary", words));
    SuggestionContext nobody =
        new SuggestionContext(
            null, "classic films", null, topics.stream().map(Topic::focus).toList(), List.of(), List.of(), List.of(),
            Set.of(), Instant.now());
    Prepared prepared = generator.prepare(model, nobody, null, 0);
    generator.write(prepared, topics, LIMIT, (topic, written) -> true);
    log.debug("Warmed up in {} ms", (System.nanoTime() - start) / 1_000_000);
  }

  private static Topic topic(String label, Set<String> words) {
    Focus focus = new Focus("", label, "genre", null, 0.5, 0, null, null, List.of());
    return new Topic(focus, BackOff.typed(label), words);
  }
}
