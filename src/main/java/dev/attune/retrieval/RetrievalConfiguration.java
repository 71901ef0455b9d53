package dev.attune.retrieval;

import dev.attune.background.ForegroundTraffic;
import dev.attune.datadir.DataDirectory;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
class RetrievalConfiguration {

  @Bean
  LazyEmbedder embedder(DataDirectory dataDirectory, RetrievalProperties properties) {
    return new LazyEmbedder(() -> OnnxEmbedder.open(dataDirectory.room("embedding"), properties.embedThreads()));
  }

  @Bean
  LuceneDocumentIndex documentIndex(
      DataDirectory dataDirectory,
      Embedder embedder,
      RetrievalProperties properties,
      ForegroundTraffic traffic,
      ApplicationEventPublisher events) {
    return LuceneDocumentIndex.open(
        dataDirectory.room("index"), embedder, properties.embed(), traffic, events::publishEvent);
  }
}
