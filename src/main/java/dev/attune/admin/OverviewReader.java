package dev.attune.admin;

import dev.attune.entity.KnowledgeBase;
import dev.attune.knowledge.StoreStatistics;
import dev.attune.llm.Models;
import dev.attune.ranking.DocumentWarming;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.LogQuality;
import java.lang.management.ManagementFactory;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** Numbers of all rooms for the first page of the administration. */
@Component
class OverviewReader {

  private final DocumentIndex documents;
  private final KnowledgeBase knowledge;
  private final StoreStatistics stores;
  private final LogQuality quality;
  private final Models models;
  private final DocumentWarming warming;
  private final JobOverview jobs;
  private final JdbcClient jdbc;

  OverviewReader(
      DocumentIndex documents,
      KnowledgeBase knowledge,
      StoreStatistics stores,
      LogQuality quality,
      Models models,
      DocumentWarming warming,
      JobOverview jobs,
      JdbcClient jdbc) {
    this.stores = stores;
    this.quality = quality;
    this.documents = documents;
    this.knowledge = knowledge;
    this.models = models;
    this.warming = warming;
    this.jobs = jobs;
    this.jdbc = jdbc;
  }

  /**
   * The service at a glance.
   *
   * @param version null when run from the sources
   * @param entities in the knowledge base
   * @param users with items in the search log
   * @param queries in the search log
   * @param events in the search log
   * @param storedEntities over all knowledge stores, one per user and entity
   * @param model state of the model, with what to do in {@code modelMessage} when it is not ready
   * @param readDocuments documents whose keys and values are stored for ranking, in memory or on disk
   * @param readMemoryBytes of those in memory, outside of the heap
   * @param readDiskBytes of those on disk
   * @param heapBytes used by the Java heap
   * @param databaseBytes of the database files
   */
  record Overview(
      @Nullable String version,
      Instant startedAt,
      long documents,
      long embeddedDocuments,
      int entities,
      long users,
      long queries,
      long events,
      long storedEntities,
      String model,
      @Nullable String modelName,
      @Nullable String modelMessage,
      long readDocuments,
      long readMemoryBytes,
      long readDiskBytes,
      long heapBytes,
      long databaseBytes,
      List<JobOverview.Job> jobs) {}

  Overview read() {
    Models.Status model = models.status();
    LogQuality.Totals log = quality.totals();
    DocumentIndex.EmbeddingProgress embedding = documents.embeddingProgress();
    DocumentWarming.Progress read = warming.progress();
    return new Overview(
        OverviewReader.class.getPackage().getImplementationVersion(),
        Instant.ofEpochMilli(ManagementFactory.getRuntimeMXBean().getStartTime()),
        documents.size(),
        embedding.embedded(),
        knowledge.size(),
        log.users(),
        log.queries(),
        log.events(),
        stores.totals().entities(),
        model.state().name().toLowerCase(Locale.ROOT),
        model.name(),
        model.message(),
        read.residentDocuments() + read.storedDocuments(),
        read.residentBytes(),
        read.storedBytes(),
        ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed(),
        jdbc.sql("select pg_database_size(current_database())").query(Long.class).single(),
        jobs.jobs());
  }
}
