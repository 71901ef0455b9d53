package dev.attune.datadir;

import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
class DataDirectoryConfiguration {

  @Bean
  DataDirectory dataDirectory(DataDirectoryProperties properties) {
    return new DataDirectory(properties.dataDir());
  }
}
