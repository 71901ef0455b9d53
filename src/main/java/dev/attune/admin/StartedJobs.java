package dev.attune.admin;

import dev.attune.knowledge.KnowledgeStores;
import dev.attune.ranking.DocumentWarming;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.web.Problems;
import jakarta.annotation.PreDestroy;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Component;

/**
 * Jobs that an administrator starts: {@code rebuild} computes all knowledge stores from the log, {@code reindex} writes
 * every document into the index again, {@code warm} reads documents for ranking. Each runs once at a time; the state of
 * the last run is kept until the service ends. A rebuild or reindexing that an end of the service interrupted begins
 * again with the next start: what it had done it does once more, to the same effect. Reading goes on by itself.
 */
@Component
class StartedJobs {

  private static final Logger log = LoggerFactory.getLogger(StartedJobs.class);
  private static final String WARM = "warm";

  /** How long the end of the service waits for the step that a job is at. */
  private static final Duration LAST_STEP = Duration.ofSeconds(10);

  private static final Map<String, String> LABELS =
      new TreeMap<>(Map.of("rebuild", "Rebuild all knowledge stores", "reindex", "Write all documents again"));

  private final KnowledgeStores stores;
  private final DocumentIndex documents;
  private final DocumentWarming warming;
  private final JobRecord record;
  private final Map<String, Run> runs = new TreeMap<>();
  private volatile boolean stopping;

  StartedJobs(KnowledgeStores stores, DocumentIndex documents, DocumentWarming warming, JobRecord record) {
    this.record = record;
    this.stores = stores;
    this.documents = documents;
    this.warming = warming;
  }

  /** One run; guarded by the component. */
  private static final class Run {
    final Instant startedAt = Instant.now();
    /** 0 before it is known. */
    long total;
    String state = "running";
    long done;
    @Nullable Instant finishedAt;
    @Nullable String error;
    @Nullable Thread thread;

    Run(long total) {
      this.total = total;
    }
  }

  /** The work of a job; returns how much was done. */
  private interface Work {
    long run();
  }

  /**
   * Starts a job and returns.
   *
   * @throws org.springframework.web.ErrorResponseException 404 for an unknown job, 409 when it is running
   */
  synchronized void start(String id) {
    switch (id) {
      case "rebuild" -> begin(id, 0, () -> stores.rebuildAll((done, total) -> progress(id, done, total)));
      case "reindex" -> begin(
          id, documents.size(), () -> documents.reindex(done -> progress(id, done, documents.size())));
      case WARM -> {
        if (warming.progress().state() == DocumentWarming.State.RUNNING) {
          throw running(id);
        }
        warming.start();
      }
      default -> throw Problems.notFound("job", id);
    }
  }

  private void begin(String id, long total, Work work) {
    Run known = runs.get(id);
    if (known != null && known.state.equals("running")) {
      throw running(id);
    }
    record.begun(id);
    Run run = new Run(total);
    runs.put(id, run);
    run.thread = Thread.ofPlatform().name("job-" + id).daemon().start(() -> run(id, run, work));
  }

  /** Begins again what the last end of the service interrupted. */
  @EventListener(ApplicationReadyEvent.class)
  void resume() {
    for (String id : record.unfinished()) {
      if (LABELS.containsKey(id)) {
        log.info("The job {} was interrupted and begins again", id);
        start(id);
      } else {
        record.ended(id);
      }
    }
  }

  private static RuntimeException running(String id) {
    return Problems.of(HttpStatus.CONFLICT, "The job " + id + " is running already.");
  }

  private void run(String id, Run run, Work work) {
    try {
      long done = work.run();
      if (stopping) {
        log.info("Job {} goes on with the next start", id);
        return;
      }
      record.ended(id);
      log.info("Job {}: {} done", id, done);
      finish(run, "done", done, null);
    } catch (RuntimeException e) {
      if (!stopping) {
        log.error("Job {} failed", id, e);
        record.ended(id);
      }
      finish(run, "failed", run.done, e.toString());
    }
  }

  private synchronized void finish(Run run, String state, long done, @Nullable String error) {
    run.state = state;
    run.done = done;
    run.error = error;
    run.finishedAt = Instant.now();
  }

  private synchronized boolean progress(String id, long done, long total) {
    Run run = runs.get(id);
    run.done = done;
    run.total = total;
    return !stopping;
  }

  /** The jobs of this class, in the shape of all jobs; {@code warm} is shown with the work that it starts. */
  synchronized List<JobOverview.Job> jobs() {
    List<JobOverview.Job> jobs = new ArrayList<>();
    LABELS.forEach(
        (id, label) -> {
          Run run = runs.get(id);
          jobs.add(
              run == null
                  ? new JobOverview.Job(id, label, "off", null, 0, 0, null, null, null, null)
                  : new JobOverview.Job(
                      id, label, run.state, null, run.done, run.total, null, run.startedAt, run.finishedAt, run.error));
        });
    return jobs;
  }

  @PreDestroy
  void stop() throws InterruptedException {
    stopping = true;
    for (Thread thread : threads()) {
      thread.join(LAST_STEP);
    }
  }

  private synchronized List<Thread> threads() {
    return runs.values().stream().map(run -> run.thread).filter(Objects::nonNull).toList();
  }
}
