package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.LlmProperties.Adapters;
import dev.attune.llm.LlmProperties.GpuWeights;
import dev.attune.llm.Models.State;
import dev.attune.llm.cuda.BrokenDevice;
import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.scheduling.Scheduler;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.springframework.util.unit.DataSize;

/**
 * A GPU that is lost while the service runs, really: in a process of its own, since none can use the GPU again after
 * such an error. Skipped without a GPU.
 */
class LostGpuTest {

  private static final int NO_GPU = 77;

  @Test
  @Timeout(120)
  void theCpuTakesOver() throws Exception {
    Process child = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp",
        System.getProperty("java.class.path"), LostGpuTest.class.getName()).redirectErrorStream(true).start();
    String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = child.waitFor();
    Assumptions.assumeTrue(code != NO_GPU, "No GPU to test on");
    assertThat(code).as(output).isZero();
    assertThat(output).contains("The GPU failed, and the model is being loaded on the CPU", "illegal address");
  }

  /** The child process. */
  public static void main(String[] args) throws IOException, InterruptedException {
    Path path = Files.createTempFile("tiny", ".gguf");
    Files.write(path, TinyGguf.model(7, 3, 128, 6, 2, 64, 192, true).bytes());
    LlmProperties properties = new LlmProperties(path.toString(), path.getParent().toString(), null,
        LlmProperties.Backend.CUDA, DataSize.ofMegabytes(64), DataSize.ofBytes(0),
        path.resolveSibling("kernels").toString(), Numbers.FP16, GpuWeights.FULL, 2, "full+fp16", 8,
        new Adapters("none", "none"));
    BackgroundModels models = new BackgroundModels(properties, new Scheduler(8, new SimpleMeterRegistry())).start();
    settle(models);
    if (!"cuda".equals(models.status().backend())) {
      System.exit(NO_GPU);
    }
    float[] before = logits(models);
    System.out.println("Broken: " + BrokenDevice.byIllegalAddress().getMessage());
    try {
      logits(models);
      throw new AssertionError("The GPU still computes");
    } catch (CudaException e) {
      System.out.println("As it should: " + e.getMessage());
    }
    settle(models);
    if (!"cpu".equals(models.status().backend())) {
      throw new AssertionError("It is " + models.status());
    }
    float[] after = logits(models);
    for (int i = 0; i < before.length; i++) {
      if (Math.abs(before[i] - after[i]) > 0.5) {
        throw new AssertionError("Logit %d was %f and is %f".formatted(i, before[i], after[i]));
      }
    }
    // The GPU's compiler must not be at work when the process ends.
    models.destroy();
    System.exit(0);
  }

  private static void settle(BackgroundModels models) throws InterruptedException {
    while (models.status().state() == State.LOADING) {
      Thread.sleep(10);
    }
  }

  private static float[] logits(BackgroundModels models) {
    Pass pass = new Pass(new int[] {7, 8, 9}, 0, List.of(), 3, false, Logits.LAST, null);
    return models.current(ModelRole.RANKING).orElseThrow().backend().run(List.of(pass)).getFirst().logits()[0];
  }
}
