package dev.attune.admin;

import dev.attune.entity.KnowledgeBase;
import dev.attune.llm.Models;
import dev.attune.retrieval.DocumentIndex;
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
  private final Models models;
  private final JobOverview jobs;
  private final JdbcClient jdbc;

  OverviewReader(
      DocumentIndex documents, KnowledgeBase knowledge, Models models, JobOverview jobs, JdbcClient jdbc) {
    this.documents = documents;
    this.knowledge = knowledge;
    this.models = models;
    this.jobs = jobs;
    this.jdbc = jdbc;
  }

  /**
   * The service at a glance.
   *
   * @param version null when run from the sources
   * @param entities in the knowledge base
   * @param model state of the model, with what to do in {@code modelMessage} when it is not ready
   * @param heapBytes used by the Java heap
   * @param databaseBytes of the database files
   */
  record Overview(
      @Nullable String version,
      Instant startedAt,
      long documents,
      long embeddedDocuments,
      int entities,
      String model,
      @Nullable String modelName,
      @Nullable String modelMessage,
      long heapBytes,
      long databaseBytes,
      List<JobOverview.Job> jobs) {}

  Overview read() {
    Models.Status model = models.status();
    DocumentIndex.EmbeddingProgress embedding = documents.embeddingProgress();
    return new Overview(
        OverviewReader.class.getPackage().getImplementationVersion(),
        Instant.ofEpochMilli(ManagementFactory.getRuntimeMXBean().getStartTime()),
        documents.size(),
        embedding.embedded(),
        knowledge.size(),
        model.state().name().toLowerCase(Locale.ROOT),
        model.name(),
        model.message(),
        ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed(),
        jdbc.sql("select pg_database_size(current_database())").query(Long.class).single(),
        jobs.jobs());
  }
}
