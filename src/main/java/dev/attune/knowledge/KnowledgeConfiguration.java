package dev.attune.knowledge;

import java.time.Clock;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.scheduling.annotation.EnableScheduling;

@Configuration(proxyBeanMethods = false)
@EnableScheduling
@EnableConfigurationProperties(KnowledgeProperties.class)
class KnowledgeConfiguration {

  /** Tells when something was paused or forgotten; log items bring their own time. */
  @Bean
  Clock knowledgeClock() {
    return Clock.systemUTC();
  }
}
