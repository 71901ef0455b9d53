package dev.attune.entity;

import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
@EnableConfigurationProperties(EntityProperties.class)
class EntityConfiguration {

  @Bean
  CommonWords commonWords() {
    return new CommonWords();
  }

  @Bean
  DictionaryLinker entityLinker(StoredKnowledgeBase knowledge, CommonWords words, EntityProperties properties) {
    return new DictionaryLinker(knowledge::snapshot, words, properties);
  }
}
