package dev.attune.admin;

import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.searchlog.IngestionStatistics;
import dev.attune.searchlog.LogQuality;
import dev.attune.web.PagedList;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** Views of the whole service, and the jobs that can be started. */
@RestController
@RequestMapping("/api/v1/admin")
class AdminController {

  private static final int DAYS = 30;
  private static final int FAILURES = 50;

  private final OverviewReader overview;
  private final JobOverview jobs;
  private final StartedJobs started;
  private final AuditTrail audit;
  private final Models models;
  private final IngestionStatistics ingestion;
  private final LogQuality quality;

  AdminController(
      OverviewReader overview,
      JobOverview jobs,
      StartedJobs started,
      AuditTrail audit,
      Models models,
      IngestionStatistics ingestion,
      LogQuality quality) {
    this.overview = overview;
    this.jobs = jobs;
    this.started = started;
    this.audit = audit;
    this.models = models;
    this.ingestion = ingestion;
    this.quality = quality;
  }

  @GetMapping("/overview")
  OverviewReader.Overview overview() {
    return overview.read();
  }

  @GetMapping("/jobs")
  List<JobOverview.Job> jobs() {
    return jobs.jobs();
  }

  /** Starts {@code rebuild}, {@code reindex} or {@code warm}; {@code GET /jobs} says how far it is. */
  @PostMapping("/jobs/{job}")
  @ResponseStatus(HttpStatus.ACCEPTED)
  List<JobOverview.Job> start(@PathVariable String job) {
    started.start(job);
    return jobs.jobs();
  }

  @GetMapping("/audit")
  PagedList<AuditTrail.Entry> audit(
      @RequestParam(defaultValue = "0") @Min(0) @Max(1_000_000) int page,
      @RequestParam(defaultValue = "50") @Min(1) @Max(500) int size) {
    return new PagedList<>(audit.count(), page, size, audit.page(page, size));
  }

  /**
   * A model.
   *
   * @param state {@code loading}, {@code ready}, {@code missing} or {@code broken}
   * @param message what is wrong and what to do
   * @param shape null while it is not loaded
   * @param fingerprint of weights and numerics of the model that ranks
   * @param adapters of the roles, once the model is ready
   */
  record ModelView(
      String state,
      String source,
      @Nullable String name,
      @Nullable String backend,
      @Nullable String message,
      @Nullable ModelConfig shape,
      @Nullable String fingerprint,
      List<Models.Adapter> adapters) {}

  @GetMapping("/models")
  List<ModelView> models() {
    Models.Status status = models.status();
    LanguageModel loaded = models.current(ModelRole.RANKING).orElse(null);
    return List.of(
        new ModelView(
            status.state().name().toLowerCase(Locale.ROOT),
            status.source(),
            status.name(),
            status.backend(),
            status.message(),
            loaded == null ? null : loaded.config(),
            loaded == null ? null : loaded.fingerprint(),
            status.adapters()));
  }

  /** Counts per day, newest first, and the newest rejections. */
  record IngestionView(List<IngestionStatistics.Day> days, List<IngestionStatistics.Failure> failures) {}

  @GetMapping("/ingestion")
  IngestionView ingestion() {
    return new IngestionView(ingestion.days(DAYS), ingestion.lastFailures(FAILURES));
  }

  /** Quality per day, newest first, of real searches and of those simulated for the demo. */
  record QualityView(List<LogQuality.DayQuality> days, List<LogQuality.DayQuality> simulated) {}

  @GetMapping("/quality")
  QualityView quality() {
    return new QualityView(quality.days(DAYS, false), quality.days(DAYS, true));
  }
}
