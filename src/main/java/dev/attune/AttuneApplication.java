package dev.attune;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** Entry point of the service and of the command line tools. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class AttuneApplication {

  /**
   * Without a command, or with {@code serve}, runs the service; arguments such as {@code --server.port=9000} set
   * configuration properties. Any other command runs a tool and ends; {@code --help} lists them.
   */
  public static void main(String[] args) {
    CommandLineTools tools = CommandLineTools.of(args);
    if (tools.isService()) {
      SpringApplication.run(AttuneApplication.class, tools.properties());
    } else {
      System.exit(tools.run());
    }
  }
}
