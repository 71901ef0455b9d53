package dev.attune.llm;

import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A small model of random weights on the GPU and on the CPU, for the tests of a class: a static field with {@code
 * RegisterExtension}. Skips the class, saying why, without a GPU.
 */
final class GpuModel implements BeforeAllCallback, AfterAllCallback {

  static final int LAYERS = 3;
  static final int KV_HEADS = 2;

  private final int seed;
  private final String gpuPolicy;
  private final String cpuPolicy;
  private @Nullable Path file;
  private final Map<Numbers, CudaBackend> cuda = new EnumMap<>(Numbers.class);
  private ModelLoader.@Nullable Loaded cpu;

  /**
   * A model that is loaded before the tests.
   *
   * @param gpuPolicy KV policy on the GPU
   * @param cpuPolicy KV policy on the CPU
   */
  GpuModel(int seed, String gpuPolicy, String cpuPolicy) {
    this.seed = seed;
    this.gpuPolicy = gpuPolicy;
    this.cpuPolicy = cpuPolicy;
  }

  @Override
  public void beforeAll(ExtensionContext context) throws IOException {
    file = Files.createTempFile("tiny", ".gguf");
    Files.write(file, TinyGguf.model(seed, LAYERS, 128, 6, KV_HEADS, 64, 192, true).bytes());
    try {
      cuda();
    } catch (CudaException e) {
      Assumptions.abort("No GPU to test on: " + e.getMessage());
    }
    cpu = onCpu(cpuPolicy);
  }

  @Override
  public void afterAll(ExtensionContext context) throws IOException {
    cuda.values().forEach(CudaBackend::close);
    cuda.clear();
    if (cpu != null) {
      cpu.close();
    }
    if (file != null) {
      Files.delete(file);
    }
  }

  /** The model on the GPU with as much memory as there is. */
  CudaBackend cuda() {
    return cuda(Numbers.FP16);
  }

  /** Likewise, in other numbers; closed with the class. */
  CudaBackend cuda(Numbers numbers) {
    return cuda.computeIfAbsent(numbers, missing -> {
      try {
        return open(gpuPolicy, missing, 0, 0, failure -> {});
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
  }

  /** The model on the CPU. */
  InferenceBackend cpu() {
    return Objects.requireNonNull(cpu).backend();
  }

  /**
   * The model on the GPU once more; to be closed.
   *
   * @param device bytes for keys and values, 0 for what is free
   * @param host pinned bytes of the host, 0 for none
   */
  CudaBackend open(String policy, long device, long host, Consumer<CudaException> lost) throws IOException {
    return open(policy, Numbers.FP16, device, host, lost);
  }

  /** The same in other numbers. */
  CudaBackend open(
      String policy, Numbers numbers, long device, long host, Consumer<CudaException> lost) throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(Objects.requireNonNull(file))) {
      return CudaBackend.load(checkpoint,
          new CudaBackend.Settings(KvPolicy.parse(policy), numbers, false, device, host, CudaBackend.STREAMS), lost);
    }
  }

  /** The model on the CPU once more; to be closed. */
  ModelLoader.Loaded onCpu(String policy) throws IOException {
    return ModelLoader.load(Objects.requireNonNull(file), KvPolicy.parse(policy), 2);
  }
}
