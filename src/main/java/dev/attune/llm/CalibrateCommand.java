package dev.attune.llm;

import dev.attune.llm.kv.HeadCalibration;
import dev.attune.llm.kv.HeadScores;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;

/** Measures which KV heads of the configured model are retrieval heads. */
@Component
@Command(name = "calibrate",
    description = "Measure the retrieval heads of the model in attune.llm.model, for KV policies with razor.",
    mixinStandardHelpOptions = true)
class CalibrateCommand implements Callable<Integer> {

  private final BackgroundModels models;

  @Spec private CommandSpec spec;

  @Option(names = "--length", defaultValue = "1500",
      description = "Random tokens, which are repeated four times (default: ${DEFAULT-VALUE}).")
  private int length;

  @Option(names = "--out", description = "File to write (default: src/main/resources/kv/NAME.json).")
  private @Nullable Path out;

  CalibrateCommand(BackgroundModels models) {
    this.models = models;
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    while (models.status().state() == Models.State.LOADING) {
      Thread.sleep(50);
    }
    LanguageModel model =
        models.current(ModelRole.SUGGESTION).orElseThrow(() -> new IllegalStateException(String.valueOf(models.status().message())));
    HeadScores scores = HeadCalibration.measure(model, length, "attune calibrate --length " + length);
    Path file = out == null ? Path.of("src/main/resources" + HeadScores.resource(model.config().name())) : out;
    Files.writeString(file, JsonMapper.shared().writeValueAsString(scores).replace("],[", "],\n[") + "\n");
    spec.commandLine().getOut().println("Wrote " + file);
    return 0;
  }
}
