package dev.attune.background;

import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.ApplicationListener;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

@Configuration(proxyBeanMethods = false)
class BackgroundConfiguration {

  @Bean
  ForegroundTraffic foregroundTraffic() {
    ForegroundTraffic traffic = new ForegroundTraffic();
    traffic.starting();
    return traffic;
  }

  @Bean
  ApplicationListener<ApplicationReadyEvent> backgroundMayBegin(ForegroundTraffic traffic) {
    return ready -> traffic.started();
  }
}
