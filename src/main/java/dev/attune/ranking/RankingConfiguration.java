package dev.attune.ranking;

import dev.attune.background.ForegroundTraffic;
import dev.attune.datadir.DataDirectory;
import dev.attune.llm.Admission;
import dev.attune.llm.Models;
import dev.attune.retrieval.DocumentIndex;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
class RankingConfiguration {

  @Bean
  TieredDocumentKv documentKvStore(RankingProperties properties, DataDirectory directory) {
    long limit = properties.storeSize().toBytes();
    DiskTier disk = limit == 0 ? null : DiskTier.open(directory.room("document-kv"), limit);
    return new TieredDocumentKv(properties.residentSize().toBytes(), disk);
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
}
