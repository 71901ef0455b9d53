package dev.attune.llm;

import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.cuda.GpuBenchmark;
import dev.attune.llm.cuda.Numbers;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Entry to the benchmark of the GPU kernels, which needs neither a model file nor the rest of the service. */
public final class GpuBench {

  private GpuBench() {}

  /**
   * Measures and prints as it goes.
   *
   * @param numbers {@code fp16} or {@code bf16}
   * @param shapes {@code S} (SmolLM2-135M) and {@code M} (Mistral-7B), with random weights
   * @param documents lengths of the lists
   * @param samples of each figure
   * @param compare whether to measure cuBLASLt's products and other tiles beside
   * @param json file for the results, or null
   * @return false when there is no GPU that can run the kernels; what is missing has been printed
   */
  public static boolean run(
      PrintWriter out, String numbers, List<String> shapes, List<Integer> documents, int samples, boolean compare,
      @Nullable Path json) throws IOException {
    try (GpuBenchmark benchmark = new GpuBenchmark(out, Numbers.valueOf(numbers.toUpperCase(Locale.ROOT)))) {
      benchmark.ceilings();
      for (String shape : shapes) {
        benchmark.run(GpuBenchmark.Shape.valueOf(shape), documents, samples, compare);
      }
      if (json != null) {
        Files.writeString(json, benchmark.results().stream().map(GpuBenchmark.Result::json)
            .collect(Collectors.joining(
                ",\n", "{\"device\": \"%s\", \"numbers\": \"%s\", \"results\": [\n"
                    .formatted(benchmark.device(), numbers), "\n]}\n")));
      }
      return true;
    } catch (CudaException e) {
      out.println(e.getMessage());
      out.flush();
      return false;
    }
  }
}
