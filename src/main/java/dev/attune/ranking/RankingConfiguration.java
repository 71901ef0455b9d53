package dev.attune.ranking;

import dev.attune.background.ForegroundTraffic;
import dev.attune.datadir.DataDirectory;
import dev.attune.llm.Admission;
import dev.attune.llm.Models;
import dev.attune.retrieval.DocumentIndex;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
class RankingConfiguration {

  private static final Logger log = LoggerFactory.getLogger(RankingConfiguration.class);

  @Bean
  TieredDocumentKv documentKvStore(RankingProperties properties, DataDirectory directory) {
    long limit = properties.storeSize().toBytes();
    DiskTier disk = limit == 0 ? null : open(directory.room("document-kv"), limit);
    return new TieredDocumentKv(properties.residentSize().toBytes(), disk);
  }

  /** What is on disk can be read again: a disk that fails is no reason not to start. */
  private static @Nullable DiskTier open(Path directory, long limit) {
    try {
      return DiskTier.open(directory, limit);
    } catch (UncheckedIOException e) {
      log.warn("{}; documents that are read are kept in memory only", e.getMessage(), e.getCause());
      return null;
    }
  }

  @Bean
  DocumentKvMetrics documentKvMetrics(DocumentKvStore store) {
    return new DocumentKvMetrics(store);
  }

  @Bean
  DocumentDemand documentDemand() {
    return new DocumentDemand();
  }

  @Bean
  BlockRanker ranker(
      Models models,
      RankingProperties properties,
      DocumentKvStore store,
      ForegroundTraffic traffic,
      DocumentDemand demand) {
    return new BlockRanker(models, properties, store, traffic, demand);
  }

  @Bean
  DocumentWarmer documentWarmer(
      BlockRanker ranker,
      Admission admission,
      DocumentIndex index,
      DocumentKvStore store,
      ForegroundTraffic traffic,
      DocumentDemand demand,
      RankingProperties properties) {
    return new DocumentWarmer(ranker, admission, index, store, traffic, demand, properties);
  }

  @Bean
  RankFusion rankFusion(RankingProperties properties) {
    return new RankFusion(properties.blockrankWeight(), properties.affinityWeight());
  }

  @Bean
  PromptTokens.Factory promptTokens(RankingProperties properties) {
    return new PromptTokens.Factory(properties);
  }

  @Bean
  RankingVariants.Factory rankingVariants(RankingProperties properties) {
    return new RankingVariants.Factory(properties);
  }
}
