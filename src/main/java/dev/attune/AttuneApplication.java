package dev.attune;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** Entry point of the service and of the command line tools. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class AttuneApplication {

  public static void main(String[] args) {
    SpringApplication.run(AttuneApplication.class, args);
  }
}
