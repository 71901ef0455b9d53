package dev.attune.evaluation;

import dev.attune.llm.GpuBench;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * {@code attune bench gpu} without the service: for a GPU host that has no more than a Java runtime image and the
 * classes of {@code dev.attune.llm}.
 */
final class GpuBenchMain {

  private GpuBenchMain() {}

  /**
   * Arguments: shapes, numbers of documents, samples, whether to compare, file for JSON, type of numbers; for example
   * {@code S,M 100,500 50 true gpu.json fp16}.
   */
  public static void main(String[] args) throws Exception {
    List<Integer> documents = Arrays.stream(args[1].split(",")).map(Integer::valueOf).toList();
    String numbers = args.length > 5 ? args[5] : "fp16";
    GpuBench.run(new PrintWriter(System.out, true), numbers, List.of(args[0].split(",")), documents,
        Integer.parseInt(args[2]), Boolean.parseBoolean(args[3]), args.length > 4 ? Path.of(args[4]) : null);
  }
}
