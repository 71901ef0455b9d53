package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import dev.attune.llm.LlmProperties.Adapters;
import dev.attune.llm.LlmProperties.Backend;
import dev.attune.llm.LlmProperties.GpuWeights;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;
import org.springframework.util.unit.DataSize;

/**
 * What computes, and what the log says of it, on this machine: with a GPU that can run the model, or without a driver.
 */
class BackendSelectionTest {

  @TempDir private Path directory;

  /** What was chosen and each line about it. */
  private record Choice(String backend, List<ILoggingEvent> lines) {}

  private Choice choose(Backend wanted, @Nullable String policy, int headSize) throws IOException {
    Path path = directory.resolve("tiny.gguf");
    Files.write(path, TinyGguf.model(7, 3, 2 * headSize, 6, 2, headSize, 192, true).bytes());
    LlmProperties properties = new LlmProperties(path.toString(), directory.toString(), null, wanted,
        DataSize.ofMegabytes(16), DataSize.ofMegabytes(16), directory.resolve("kernels").toString(), Numbers.FP16,
        GpuWeights.FULL, 2, "auto", 8, new Adapters("none", "none"));
    Logger logger = (Logger) LoggerFactory.getLogger(ModelLoader.class);
    ListAppender<ILoggingEvent> appender = new ListAppender<>();
    appender.start();
    logger.addAppender(appender);
    try (ModelLoader.Loaded model = ModelLoader.load(
        path, properties, wanted, policy == null ? null : KvPolicy.parse(policy), failure -> {})) {
      return new Choice(model.backend().name(), List.copyOf(appender.list));
    } finally {
      logger.detachAppender(appender);
    }
  }

  @Test
  void withoutADriverAutoIsSilent() throws IOException {
    Assumptions.assumeFalse(CudaBackend.driverInstalled(), "There is a driver");
    Choice choice = choose(Backend.AUTO, null, 64);
    assertThat(choice.backend()).isEqualTo("cpu");
    assertThat(choice.lines()).isEmpty();
  }

  @Test
  void withoutADriverTheGpuThatWasAskedForIsMissed() throws IOException {
    Assumptions.assumeFalse(CudaBackend.driverInstalled(), "There is a driver");
    Choice choice = choose(Backend.CUDA, null, 64);
    assertThat(choice.backend()).isEqualTo("cpu");
    assertThat(choice.lines()).singleElement().satisfies(line -> {
      assertThat(line.getLevel()).isEqualTo(Level.WARN);
      assertThat(line.getFormattedMessage()).startsWith("The CPU computes").contains("libcuda.so.1");
    });
  }

  @Test
  void aGpuIsTaken() throws IOException {
    Assumptions.assumeTrue(CudaBackend.driverInstalled(), "No driver");
    Choice choice = choose(Backend.AUTO, null, 64);
    assertThat(choice.backend()).isEqualTo("cuda");
    assertThat(choice.lines()).singleElement().satisfies(line ->
        assertThat(line.getFormattedMessage()).startsWith("The GPU computes").contains("16 MB of the host"));
    assertThat(choose(Backend.CPU, null, 64).backend()).isEqualTo("cpu");
  }

  @Test
  void whatTheGpuCannotRunIsSaidOnce() throws IOException {
    Assumptions.assumeTrue(CudaBackend.driverInstalled(), "No driver");
    for (Backend wanted : List.of(Backend.AUTO, Backend.CUDA)) {
      Choice policy = choose(wanted, "full+f32", 64);
      assertThat(policy.backend()).isEqualTo("cpu");
      assertThat(policy.lines()).singleElement().satisfies(line ->
          assertThat(line.getFormattedMessage()).contains("KV policy full+f32 is not supported"));
      Choice heads = choose(wanted, null, 32);
      assertThat(heads.backend()).isEqualTo("cpu");
      assertThat(heads.lines()).singleElement().satisfies(line -> {
        assertThat(line.getFormattedMessage()).contains("heads of 32 are not supported");
        assertThat(line.getLevel()).isEqualTo(wanted == Backend.AUTO ? Level.INFO : Level.WARN);
      });
    }
  }
}
