package dev.attune.llm;

import dev.attune.llm.generation.BatchTextGenerator;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.ApplicationListener;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
@EnableConfigurationProperties(LlmProperties.class)
class LlmConfiguration {

  @Bean
  BackgroundModels models(LlmProperties properties) {
    return new BackgroundModels(properties);
  }

  /** Not before: the start of the service is short of processors already. */
  @Bean
  ApplicationListener<ApplicationReadyEvent> loadModel(BackgroundModels models) {
    return ready -> models.start();
  }

  @Bean
  TextGenerator textGenerator() {
    return new BatchTextGenerator();
  }
}
