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
    if (ModuleLayer.boot().findModule("jdk.incubator.vector").isEmpty()) {
      System.err.println(
          "Attune needs flags of the JVM that a jar cannot carry. Start it with bin/attune, or with"
              + " java --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -jar attune.jar");
      System.exit(1);
    }
    CommandLineTools tools = CommandLineTools.of(args);
    if (tools.isService()) {
      SpringApplication.run(AttuneApplication.class, tools.properties());
    } else {
      System.exit(tools.run());
    }
  }
}
