package dev.attune.datadir;

import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.DependsOn;

@Configuration(proxyBeanMethods = false)
class DataDirectoryConfiguration {

  @Bean
  DataDirectoryLock dataDirectoryLock(DataDirectoryProperties properties) {
    return new DataDirectoryLock(new DataDirectory(properties.dataDir()).root());
  }

  @Bean
  @DependsOn("dataDirectoryLock")
  DataDirectory dataDirectory(DataDirectoryProperties properties) {
    return new DataDirectory(properties.dataDir());
  }
}
