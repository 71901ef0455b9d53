package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.RopeScaling;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;

/**
 * Speed of ranking and decoding on the GPU with random weights of two known shapes, so that nothing needs to be
 * downloaded: SmolLM2-135M (layer 18) and Mistral-7B (layer 20). Instruction of 64 tokens, documents of 160, last block
 * of 48 at position 2048, as in the PyTorch baseline. Medians of device time between events, with the cache flushed
 * before each sample.
 */
public final class GpuBenchmark implements AutoCloseable {

  /**
   * A model's shape.
   *
   * @param layer at which documents are scored
   */
  public enum Shape {
    S(new ModelConfig("llama", "SmolLM2-135M shape", 30, 576, 9, 3, 64, 1536, 49152, 4096, 1e5,
        RopeScaling.NONE, 1e-5), 18),
    M(new ModelConfig("llama", "Mistral-7B shape", 32, 4096, 32, 8, 128, 14336, 32000, 4096, 1e4,
        RopeScaling.NONE, 1e-5), 20);

    final ModelConfig config;
    final int layer;

    Shape(ModelConfig config, int layer) {
      this.config = config;
      this.layer = layer;
    }
  }

  /**
   * One measured figure.
   *
   * @param what cold, cold-cublaslt, cold-fp8, warm and what is kept, warm-fp8 (weights), warm-together (with the
   *     number of requests), half-warm, decode (with the length of the context and what is kept of it), or a ceiling
   * @param documents 0 where there are none
   * @param median milliseconds of device time; for decode, of one token, for warm-together, of one request
   * @param p90 likewise
   */
  public record Result(String shape, String what, int documents, double median, double p90, int samples, String note) {

    /** One line of JSON. */
    public String json() {
      return String.format(Locale.ROOT,
          "{\"shape\": \"%s\", \"what\": \"%s\", \"documents\": %d, \"median_ms\": %.4f, \"p90_ms\": %.4f, "
              + "\"samples\": %d, \"note\": \"%s\"}",
          shape, what, documents, median, p90, samples, note);
    }
  }

  private final PrintWriter out;
  private final CudaDevice device;
  private final Nvrtc compiler = new Nvrtc(null);
  private final CublasLt cublas;
  private final Numbers numbers;
  private final DeviceTimer timer;

  /**
   * Opens the first GPU for the calling thread.
   *
   * @throws CudaException when there is none, saying why
   */
  public GpuBenchmark(PrintWriter out, Numbers numbers) {
    this.out = out;
    this.numbers = numbers;
    device = new CudaDevice(new CudaDriver(), 0);
    cublas = new CublasLt(device, numbers);
    timer = new DeviceTimer(device, out);
    out.printf("%s in %s, driver %d (%s)%nNVRTC from %s%ncuBLASLt from %s%n", device.name, numbers,
        device.driverVersion(), device.driver.place, compiler.place, cublas.place);
    out.flush();
  }

  /** Name of the GPU. */
  public String device() {
    return device.name;
  }

  /** What was measured so far. */
  public List<Result> results() {
    return timer.results();
  }

  /** Bandwidth and product rate of this GPU: the ceilings that times are to be read against. */
  public void ceilings() {
    Kernels kernels = new Kernels(device, compiler, Shape.S.config, numbers);
    int n = 8192;
    long a = random(device, kernels, (long) n * n, 0, 1, 1);
    long b = random(device, kernels, (long) n * n, 0, 1, 2);
    long c = device.allocate(2L * n * n, "a product");
    CublasLt.Product product = cublas.new Product(b, n, n);
    double[] ten = timer.sample(20, () -> {
      for (int i = 0; i < 10; i++) {
        product.run(a, c, n, false);
      }
    });
    timer.note("device", "product-8192", 0, ten,
        "%.0f TFLOP/s over ten".formatted(2.0 * n * n * n * 10 / DeviceTimer.median(ten) / 1e9));
    long bytes = 2L << 30;
    long from = device.allocate(bytes, "a copy");
    long to = device.allocate(bytes, "a copy");
    double[] copy = timer.sample(20, () -> device.copy(to, from, bytes));
    timer.note("device", "copy-2GiB", 0, copy,
        "%.2f TB/s read and written".formatted(2.0 * bytes / DeviceTimer.median(copy) / 1e9));
    for (long address : new long[] {a, b, c, from, to}) {
      device.free(address);
    }
  }

  /** Measures one shape at several numbers of documents; decoding too for the small one. */
  public void run(Shape shape, List<Integer> documents, int samples, boolean compareTiles) {
    long before = System.nanoTime();
    try (BenchmarkedModel model = new BenchmarkedModel(device, compiler, numbers, cublas, timer, out, shape)) {
      for (int n : documents) {
        model.rank(n, samples, compareTiles);
      }
      if (shape == Shape.S) {
        model.decode(samples);
        try (BenchmarkedDecoding decoding = model.decoding()) {
          decoding.logitsToHost(20 * samples);
          for (int length : new int[] {600, 8192}) {
            decoding.compressed(length, samples);
          }
        }
      }
    }
    out.printf(Locale.ROOT, "shape %s took %.1f s%n", shape, (System.nanoTime() - before) / 1e9);
    out.flush();
  }

  /** Normally distributed numbers of 16 bits. */
  static long random(CudaDevice device, Kernels kernels, long count, float mean, float deviation, long seed) {
    long address = device.allocate(2 * count, "%d random numbers".formatted(count));
    kernels.fillNormal.launch(4096, 1, 256, address, count, mean, deviation, seed);
    device.synchronize("Drawing random numbers");
    return address;
  }

  @Override
  public void close() {
    cublas.close();
    device.close();
  }
}
