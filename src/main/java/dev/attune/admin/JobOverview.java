package dev.attune.admin;

import dev.attune.demo.DemoLoading;
import dev.attune.ranking.DocumentWarming;
import dev.attune.retrieval.DocumentIndex;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** The background jobs of all rooms in one shape. */
@Component
class JobOverview {

  private final DemoLoading demo;
  private final DocumentIndex documents;
  private final DocumentWarming warming;
  private final StartedJobs started;

  JobOverview(DemoLoading demo, DocumentIndex documents, DocumentWarming warming, StartedJobs started) {
    this.demo = demo;
    this.documents = documents;
    this.warming = warming;
    this.started = started;
  }

  /**
   * A background job.
   *
   * @param id {@code demo}, {@code embed}, {@code warm}, {@code rebuild} or {@code reindex}
   * @param state {@code off}, {@code waiting}, {@code running}, {@code done} or {@code failed}
   * @param part what it is at, if it has parts
   * @param perSecond items or, for {@code warm}, tokens per second; null if unknown
   */
  record Job(
      String id,
      String label,
      String state,
      @Nullable String part,
      long done,
      long total,
      @Nullable Double perSecond,
      @Nullable Instant startedAt,
      @Nullable Instant finishedAt,
      @Nullable String error) {}

  List<Job> jobs() {
    List<Job> jobs = new ArrayList<>(List.of(demo(), embedding(), warming(warming.progress())));
    jobs.addAll(started.jobs());
    return jobs;
  }

  private Job demo() {
    DemoLoading.Progress progress = demo.progress();
    String state =
        switch (progress.state()) {
          case ABSENT -> "off";
          case LOADING -> "running";
          case LOADED -> "done";
          case FAILED -> "failed";
        };
    String part = progress.part() == null ? null : progress.part().name().toLowerCase(Locale.ROOT).replace('_', ' ');
    return new Job("demo", "Load the demo", state, part, progress.done(), progress.total(), null,
        progress.startedAt(), progress.finishedAt(), progress.error());
  }

  private Job embedding() {
    DocumentIndex.EmbeddingProgress progress = documents.embeddingProgress();
    String state =
        progress.error() != null ? "failed"
            : progress.running() ? "running"
            : progress.embedded() < progress.total() ? "waiting" : "done";
    return new Job("embed", "Compute vectors of documents", state, null, progress.embedded(), progress.total(),
        progress.documentsPerSecond() == 0 ? null : progress.documentsPerSecond(), null, null, progress.error());
  }

  private static Job warming(DocumentWarming.Progress progress) {
    String state =
        switch (progress.state()) {
          case OFF -> "off";
          case WAITING_FOR_MODEL -> "waiting";
          case RUNNING -> "running";
          case DONE -> "done";
        };
    return new Job("warm", "Read documents for ranking", state, null, progress.done(), progress.planned(),
        progress.tokensPerSecond(), null, null, null);
  }
}
