package dev.attune.demo;

import dev.attune.entity.KnowledgeImport;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.IngestionStatistics;
import dev.attune.searchlog.SearchLog;
import jakarta.annotation.PreDestroy;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;
import tools.jackson.databind.JsonNode;

/**
 * Loads the demo in the background while the service is already in use: knowledge base, then films (their fields
 * become entities), then simulated users (their queries are linked to both). Every step can be repeated; what was
 * finished is remembered in the database.
 */
@Component
class DemoLoader implements DemoLoading {

  private static final Logger log = LoggerFactory.getLogger(DemoLoader.class);
  private static final int LOG_BATCH = 200;

  private final DemoProperties properties;
  private final DemoRecord record;
  private final KnowledgeImport knowledge;
  private final DocumentIndex documents;
  private final SearchLog searchLog;
  private final IngestionStatistics ingestion;
  private volatile Progress progress = new Progress(State.ABSENT, null, 0, 0, null, null, null);
  private volatile boolean stopping;
  private @Nullable Thread worker;

  DemoLoader(
      DemoProperties properties,
      DemoRecord record,
      KnowledgeImport knowledge,
      DocumentIndex documents,
      SearchLog searchLog,
      IngestionStatistics ingestion) {
    this.properties = properties;
    this.record = record;
    this.knowledge = knowledge;
    this.documents = documents;
    this.searchLog = searchLog;
    this.ingestion = ingestion;
  }

  @Override
  public Progress progress() {
    return progress;
  }

  @EventListener(ApplicationReadyEvent.class)
  void begin() {
    if (!properties.enabled()) {
      return;
    }
    String state = record.get("state").orElseGet(this::decide);
    Instant startedAt = record.get("started-at").map(Instant::parse).orElse(null);
    if (state.equals("loaded")) {
      Instant finishedAt = record.get("finished-at").map(Instant::parse).orElse(null);
      progress = new Progress(State.LOADED, null, 0, 0, startedAt, finishedAt, null);
    } else if (state.equals("loading") && startedAt != null) {
      progress = new Progress(State.LOADING, null, 0, 0, startedAt, null, null);
      worker = Thread.ofPlatform().name("demo").daemon().start(() -> load(startedAt));
    }
  }

  /** Only a store that holds nothing gets the demo; what was decided at the first start stays. */
  private String decide() {
    boolean empty = documents.size() == 0 && ingestion.days(1).isEmpty();
    if (empty) {
      record.put("started-at", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    }
    String state = empty ? "loading" : "absent";
    record.put("state", state);
    return state;
  }

  private void load(Instant startedAt) {
    try {
      log.info("Loading the demo; the service can be used meanwhile");
      loadKnowledgeBase(startedAt);
      loadFilms(startedAt);
      loadUsers(startedAt);
      if (stopping) {
        return;
      }
      Instant finishedAt = Instant.now();
      record.put("finished-at", finishedAt.toString());
      record.put("state", "loaded");
      progress = new Progress(State.LOADED, null, 0, 0, startedAt, finishedAt, null);
      log.info("The demo is loaded: {} documents", documents.size());
    } catch (RuntimeException e) {
      Progress last = progress;
      progress = new Progress(State.FAILED, last.part(), last.done(), last.total(), startedAt, null, e.toString());
      log.error("The demo could not be loaded; the next start goes on from there", e);
    }
  }

  private void loadKnowledgeBase(Instant startedAt) {
    if (stopping || record.get("knowledge").isPresent()) {
      return;
    }
    report(Part.KNOWLEDGE_BASE, 0, 0, startedAt);
    KnowledgeImport.Report report = knowledge.importBundled();
    record.put("knowledge", Long.toString(report.written()));
    report(Part.KNOWLEDGE_BASE, report.written(), report.written(), startedAt);
  }

  private void loadFilms(Instant startedAt) {
    List<Document> films;
    try (Stream<Document> corpus = MovieCorpus.read()) {
      films = corpus.toList();
    }
    int done = record.get("films").map(Integer::parseInt).orElse(0);
    while (done < films.size() && !stopping) {
      report(Part.FILMS, done, films.size(), startedAt);
      int end = Math.min(films.size(), done + properties.batchSize());
      documents.put(films.subList(done, end));
      done = end;
      record.put("films", Integer.toString(done));
    }
    report(Part.FILMS, done, films.size(), startedAt);
  }

  private void loadUsers(Instant startedAt) {
    // Times count from the first start, so that going on gives the same items again: known ones are duplicates.
    List<JsonNode> items = SimulatedUsers.read(startedAt);
    for (int done = 0; done < items.size() && !stopping; done += LOG_BATCH) {
      report(Part.SIMULATED_USERS, done, items.size(), startedAt);
      var report = searchLog.ingest(items.subList(done, Math.min(items.size(), done + LOG_BATCH)).stream());
      if (report.rejected() > 0) {
        throw new IllegalStateException("Simulated items were rejected: " + report.errors());
      }
    }
  }

  private void report(Part part, long done, long total, Instant startedAt) {
    Progress before = progress;
    progress = new Progress(State.LOADING, part, done, total, startedAt, null, null);
    long tenths = total == 0 ? 0 : done * 10 / total;
    boolean samePart = before.part() == part;
    long tenthsBefore = !samePart || before.total() == 0 ? -1 : before.done() * 10 / before.total();
    if (tenths != tenthsBefore) {
      log.info(
          "Demo: {} {} %",
          part.name().toLowerCase(Locale.ROOT).replace('_', ' '),
          tenths * 10);
    }
  }

  /** Waits for the running batch: an interrupt would close the files of the index. */
  @PreDestroy
  void stop() throws InterruptedException {
    stopping = true;
    if (worker != null) {
      worker.join();
    }
  }
}
