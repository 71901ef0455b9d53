package dev.attune.llm;

import dev.attune.llm.generation.BatchTextGenerator;
import dev.attune.llm.scheduling.Scheduler;
import io.micrometer.core.instrument.MeterRegistry;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.ApplicationListener;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
@EnableConfigurationProperties(LlmProperties.class)
class LlmConfiguration {

  @Bean
  Scheduler llmScheduler(LlmProperties properties, MeterRegistry metrics) {
    return new Scheduler(properties.queue(), metrics);
  }

  @Bean
  BackgroundModels models(LlmProperties properties, Scheduler scheduler) {
    return new BackgroundModels(properties, scheduler);
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
