package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.LlmProperties.Adapters;
import dev.attune.llm.LlmProperties.GpuWeights;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.hub.LocalHub;
import dev.attune.llm.scheduling.Scheduler;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.util.unit.DataSize;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

@Timeout(120)
class ModelsCommandTest {

  private static final Path CHECKPOINTS = Path.of("src/test/resources/checkpoints");

  @TempDir private Path cache;

  private record Run(int status, String out, String err) {}

  private LlmProperties settings(String model, @Nullable String hub) {
    return new LlmProperties(model, cache.toString(), hub, LlmProperties.Backend.CPU, DataSize.ofBytes(0),
        DataSize.ofBytes(0), cache.resolve("kernels").toString(), Numbers.FP16, GpuWeights.FULL, 1, "full+f32", 8,
        new Adapters("none", "none"));
  }

  private Run run(LlmProperties settings, String... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int status = new CommandLine(new ModelsCommand(settings))
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(err))
        .execute(arguments);
    return new Run(status, out.toString(), err.toString());
  }

  private Run run(String... arguments) {
    return run(settings(cache.resolve("absent.gguf").toString(), null), arguments);
  }

  private static LocalHub hub() throws IOException {
    LocalHub hub = new LocalHub();
    for (String file : List.of("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")) {
      hub.files.put(file, Files.readAllBytes(CHECKPOINTS.resolve("smollm2").resolve(file)));
    }
    return hub;
  }

  @Test
  void calibratesAModel() throws IOException {
    Path scores = cache.resolve("scores.json");
    String model = CHECKPOINTS.resolve("smollm2/model.safetensors").toString();

    Run run = run("calibrate", model, "--length", "12", "--out", scores.toString());

    assertThat(run.status()).as(run.err()).isZero();
    assertThat(Files.readString(scores)).contains("attune models calibrate --length 12", "\"induction\":[[");
    assertThat(run("calibrate", model, "--length", "1000000").err()).contains("can be repeated 4 times in a context");
    assertThat(run("calibrate").err()).contains("There is no model at");
  }

  @Test
  void inspectsEveryFormat() {
    Run qwen = run("inspect", CHECKPOINTS.resolve("qwen2/model.safetensors").toString(), "--tensors");
    assertThat(qwen.out()).containsPattern("format +safetensors\n").containsPattern("architecture +qwen2\n")
        .containsPattern("heads +4 query, 2 key/value, of 8\n").containsPattern("RoPE +base 10000.0, scaling yarn")
        .contains("with biases").containsPattern("BF16 +27 tensors").contains("288 ids").contains("ends with 2")
        .contains("model.layers.1.mlp.down_proj.weight");
    assertThat(qwen.status()).isZero();
    assertThat(run("inspect", CHECKPOINTS.resolve("qwen3/qwen3.gguf").toString()).out())
        .containsPattern("format +GGUF\n").contains("normalised per head").contains("tied to the embeddings")
        .contains("linear, factor 2.0").doesNotContain("blk.0");
    Run absent = run("inspect");
    assertThat(absent.status()).isEqualTo(1);
    assertThat(absent.err()).startsWith("There is no model at ").contains("absent.gguf").doesNotContain("\tat ");
  }

  @Test
  void verifiesAgainstARecord() throws IOException {
    Path model = Files.copy(CHECKPOINTS.resolve("qwen3/qwen3.gguf"), cache.resolve("qwen3.gguf"));
    Run unknown = run("verify", model.toString());
    assertThat(unknown.status()).isEqualTo(1);
    assertThat(unknown.out()).contains("qwen3.gguf: nothing recorded");
    assertThat(run("verify", model.toString(), "--record").status()).isZero();
    Run right = run("verify", model.toString());
    assertThat(right.status()).isZero();
    assertThat(right.out()).contains("qwen3.gguf: right");
    byte[] bytes = Files.readAllBytes(model);
    bytes[bytes.length - 1] ^= 1;
    Files.write(model, bytes);
    Run wrong = run("verify", model.toString());
    assertThat(wrong.status()).isEqualTo(1);
    assertThat(wrong.out()).contains("WRONG, should be ");
  }

  @Test
  void theLockedModelIsWhatTheLockSays() {
    Assumptions.assumeTrue(Files.exists(TestModel.FILE), "No model at " + TestModel.FILE);
    Assumptions.assumeTrue(ModelsCommand.class.getResource("/models/models.lock") != null,
        "models.lock is packaged by Maven only");
    Run run = run("verify", TestModel.FILE.toString());
    assertThat(run.out()).contains("right (models.lock)");
    assertThat(run.status()).isZero();
  }

  @Test
  void fetchesListsAndRunsAModelOfTheHub() throws IOException {
    try (LocalHub hub = hub()) {
      hub.cutAfter = 6000;
      LlmProperties settings = settings("hf:tiny/model", hub.endpoint().toString());
      assertThat(run(settings, "list").out()).containsPattern("configured +missing +.*tiny--model");
      Run fetch = run(settings, "fetch");
      assertThat(fetch.err()).isEmpty();
      assertThat(fetch.out()).contains("model.safetensors").contains("Ready at ");
      assertThat(run(settings, "list").out()).containsPattern("configured, cached +0.0 MB +.*tiny--model");
      assertThat(run(settings, "verify").status()).isZero();
      assertThat(run(settings, "inspect").out()).containsPattern("architecture +llama\n");
    }
    // Without the hub: what is here is enough.
    assertThat(loaded(settings("hf:tiny/model", null)).state()).isEqualTo(Models.State.READY);
  }

  @Test
  void theServiceFetchesItsModelOnce() throws IOException {
    try (LocalHub hub = hub()) {
      LlmProperties settings = settings("hf:tiny/model", hub.endpoint().toString());
      assertThat(loaded(settings).state()).isEqualTo(Models.State.READY);
      hub.requests.clear();
      assertThat(loaded(settings).state()).isEqualTo(Models.State.READY);
      assertThat(hub.requests).isEmpty();
    }
  }

  @Test
  void withoutAHubItSaysSo() {
    Assumptions.assumeTrue(System.getenv("HF_ENDPOINT") == null, "HF_ENDPOINT is set here");
    LlmProperties settings = settings("hf:tiny/model", null);
    Run fetch = run(settings, "fetch");
    assertThat(fetch.status()).isEqualTo(1);
    assertThat(fetch.err()).contains("no hub is set: set attune.llm.hub");
    assertThat(loaded(settings).message()).contains("no hub is set: set attune.llm.hub");
    assertThat(run("fetch", "/a/path.gguf").err()).contains("is not a model of the hub");
  }

  private static Models.Status loaded(LlmProperties settings) {
    BackgroundModels models = new BackgroundModels(settings, new Scheduler(8, new SimpleMeterRegistry())).start();
    while (models.status().state() == Models.State.LOADING) {
      Thread.onSpinWait();
    }
    models.destroy();
    return models.status();
  }
}
