package dev.attune;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.springframework.beans.factory.config.BeanDefinition;
import org.springframework.boot.Banner;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.ClassPathScanningCandidateComponentProvider;
import org.springframework.core.type.filter.AnnotationTypeFilter;
import org.springframework.stereotype.Component;
import org.springframework.util.ClassUtils;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;

/**
 * The tools of the command line. A room adds one by a Spring component with picocli's {@code @Command(name = …)} that
 * is a {@code Callable<Integer>} or {@code Runnable}; it runs in the application context without web server and
 * without the demo. A tool that names its settings itself ({@link EnableConfigurationProperties}) needs nothing else:
 * it runs alone, without database and beside a running service.
 */
final class CommandLineTools {

  private static final Pattern PROPERTY = Pattern.compile("--[A-Za-z][\\w-]*\\.[^=]+(=.*)?|--debug|--trace");

  private final String command;
  private final List<String> properties = new ArrayList<>();
  private final List<String> arguments = new ArrayList<>();

  private CommandLineTools(String[] args) {
    String name = "";
    for (String arg : args) {
      if (PROPERTY.matcher(arg).matches()) {
        properties.add(arg);
      } else if (name.isEmpty() && !arg.startsWith("-")) {
        name = arg;
      } else {
        arguments.add(arg);
      }
    }
    this.command = name;
  }

  static CommandLineTools of(String[] args) {
    return new CommandLineTools(args);
  }

  boolean isService() {
    return (command.isEmpty() || command.equals("serve")) && arguments.isEmpty();
  }

  /** Arguments that set configuration properties. */
  String[] properties() {
    return properties.toArray(String[]::new);
  }

  /** Runs the tool and returns the exit code of the process. */
  int run() {
    Map<String, Class<?>> tools = find();
    if (command.isEmpty() || command.equals("serve")) {
      return new CommandLine(overview(tools)).execute(arguments.toArray(String[]::new));
    }
    Class<?> type = tools.get(command);
    if (type == null) {
      System.err.println("There is no command '" + command + "'. Commands: serve " + String.join(" ", tools.keySet()));
      return CommandLine.ExitCode.USAGE;
    }
    try (ConfigurableApplicationContext context =
        new SpringApplicationBuilder(alone(type) ? type : AttuneApplication.class)
            .web(WebApplicationType.NONE)
            .bannerMode(Banner.Mode.OFF)
            // What a tool reads would only push out what the service has read.
            .properties(
                "attune.demo.enabled=false",
                "attune.ranking.warm=none",
                "attune.ranking.store-size=0",
                "logging.level.root=WARN")
            .run(properties())) {
      CommandLine tool = new CommandLine(context.getBean(type), new Subcommands(context));
      if (arguments.contains("--help") || arguments.contains("-h")) {
        tool.usage(System.out);
        return CommandLine.ExitCode.OK;
      }
      return tool.execute(arguments.toArray(String[]::new));
    }
  }

  private static boolean alone(Class<?> type) {
    return type.isAnnotationPresent(EnableConfigurationProperties.class);
  }

  private static CommandSpec overview(Map<String, Class<?>> tools) {
    CommandSpec overview =
        CommandSpec.wrapWithoutInspection((Runnable) () -> {}).name("attune").mixinStandardHelpOptions(true);
    String version = AttuneApplication.class.getPackage().getImplementationVersion();
    overview.version("Attune " + (version == null ? "(development)" : version));
    overview
        .usageMessage()
        .description("Personal search. Without a command the service starts.")
        .footer(
            "",
            "attune COMMAND --help shows the options of a command. Every command takes configuration properties:",
            "--server.port=9000, --attune.data-dir=/srv/attune, --attune.llm.model=/models/my.gguf,",
            "--spring.datasource.url=jdbc:postgresql://…");
    CommandSpec serve = CommandSpec.wrapWithoutInspection((Runnable) () -> {}).name("serve");
    serve.usageMessage().description("Run the service (default).");
    overview.addSubcommand("serve", serve);
    tools.forEach((name, type) -> overview.addSubcommand(name, outline(name, type)));
    return overview;
  }

  /** What the overview shows: options need an instance, which only the application context can make. */
  private static CommandSpec outline(String name, Class<?> type) {
    CommandSpec outline = CommandSpec.wrapWithoutInspection((Runnable) () -> {}).name(name);
    outline.usageMessage().description(type.getAnnotation(Command.class).description());
    return outline;
  }

  private static Map<String, Class<?>> find() {
    var scanner = new ClassPathScanningCandidateComponentProvider(false);
    scanner.addIncludeFilter(new AnnotationTypeFilter(Command.class));
    Map<String, Class<?>> tools = new TreeMap<>();
    for (BeanDefinition found : scanner.findCandidateComponents("dev.attune")) {
      Class<?> type =
          ClassUtils.resolveClassName(
              String.valueOf(found.getBeanClassName()), AttuneApplication.class.getClassLoader());
      Command annotation = type.getAnnotation(Command.class);
      if (annotation != null && type.isAnnotationPresent(Component.class)) {
        tools.put(annotation.name(), type);
      }
    }
    return tools;
  }

  /** Subcommands that are classes of their own get what they need from the context, too. */
  private record Subcommands(ConfigurableApplicationContext context) implements CommandLine.IFactory {
    @Override
    public <K> K create(Class<K> type) throws Exception {
      return type.isAnnotationPresent(Command.class)
          ? context.getAutowireCapableBeanFactory().createBean(type)
          : CommandLine.defaultFactory().create(type);
    }
  }
}
