package dev.attune.ranking;

import dev.attune.llm.Models;
import dev.attune.retrieval.DocumentIndex;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
class RankingConfiguration {

  @Bean
  DocumentKvStore documentKvStore(RankingProperties properties) {
    return new ResidentDocumentKv(properties.residentSize().toBytes());
  }

  @Bean
  ForegroundTraffic foregroundTraffic() {
    return new ForegroundTraffic();
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
      DocumentIndex index,
      DocumentKvStore store,
      ForegroundTraffic traffic,
      DocumentDemand demand,
      RankingProperties properties) {
    return new DocumentWarmer(ranker, index, store, traffic, demand, properties);
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
