package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.attune.llm.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Assumptions;

/** The GPU of this machine for tests, and transfers of arrays. */
final class Gpu implements AutoCloseable {

  final CudaDevice device;
  final Nvrtc compiler;
  final Numbers numbers;

  private Gpu(CudaDevice device, Nvrtc compiler, Numbers numbers) {
    this.device = device;
    this.compiler = compiler;
    this.numbers = numbers;
  }

  /** Opens the GPU for this thread; skips the test, saying why, when there is none. */
  static Gpu open() {
    try {
      return new Gpu(new CudaDevice(new CudaDriver(), 0), new Nvrtc(null), Numbers.FP16);
    } catch (CudaException e) {
      Assumptions.abort("No GPU to test on: " + e.getMessage());
      throw e;
    }
  }

  /** The same with numbers of a type. */
  Gpu in(Numbers others) {
    return new Gpu(device, compiler, others);
  }

  Kernels kernels(ModelConfig config) {
    return new Kernels(device, compiler, config, numbers);
  }

  /** A kernel's source and what it is compiled for. */
  record Source(String resource, List<String> options) {}

  /**
   * Compiles what tests will need side by side, in all types of numbers, which each would otherwise wait for.
   *
   * @param sources beside those that all tests of a model need
   */
  void compile(Collection<Source> sources) {
    Set<Source> all = new LinkedHashSet<>(sources);
    for (String resource : List.of("elementwise.cu", "attention.cu", "probe.cu")) {
      all.add(new Source(resource, List.of()));
    }
    for (int size : new int[] {64, 128}) {
      all.add(new Source("wide.cu", Kernels.wideOptions(size, false)));
      all.add(new Source("wide.cu", Kernels.wideOptions(size, true)));
    }
    Queue<Runnable> left = new ConcurrentLinkedQueue<>();
    for (Source source : all) {
      for (Numbers type : Numbers.values()) {
        left.add(() -> compiler.compile(source.resource, device.architecture, type, source.options));
      }
    }
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < Runtime.getRuntime().availableProcessors(); i++) {
      Thread thread = new Thread(null, () -> {
        for (Runnable next = left.poll(); next != null; next = left.poll()) {
          next.run();
        }
      }, "compile " + i, Nvrtc.STACK_BYTES);
      thread.start();
      threads.add(thread);
    }
    ThreadEnd.await(threads);
  }

  long rope(ModelConfig config) {
    return CudaWeights.ropeTable(device, config);
  }

  /** Rows of one segment for rows of a batch, in reverse order, so that a wrong row shows. */
  static int[] places(long segment, int rows) {
    int[] places = new int[4 * rows];
    for (int i = 0; i < rows; i++) {
      places[4 * i] = (int) segment;
      places[4 * i + 1] = (int) (segment >>> 32);
      places[4 * i + 2] = rows - 1 - i;
      places[4 * i + 3] = rows;
    }
    return places;
  }

  /** Rounded to 16 bits. */
  float round(float value) {
    return numbers.value(numbers.bits(value));
  }

  /** A bound of errors of kernels whose results are rounded. */
  double tolerance() {
    return tolerance(Reference.TOLERANCE);
  }

  /** Likewise, of products in FP8 too, whose sums on tensor cores are shorter than fp32. */
  double tolerance(boolean fp8) {
    return fp8 ? Reference.TOLERANCE : tolerance();
  }

  /** A bound of errors of rounding to bf16, or an eighth of it. */
  double tolerance(double ofBf16) {
    return numbers == Numbers.FP16 ? ofBf16 / 8 : ofBf16;
  }

  /** Normally distributed numbers that are exact in 16 bits. */
  float[] random(Random random, int count, double deviation) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = round((float) (random.nextGaussian() * deviation));
    }
    return values;
  }

  /** The same of a large matrix, whose rows are drawn side by side. */
  float[] matrix(Random random, int rows, int columns, double deviation) {
    long seed = random.nextLong();
    float[] values = new float[rows * columns];
    IntStream.range(0, rows).parallel().forEach(row -> {
      SplittableRandom own = new SplittableRandom(seed + row);
      for (int i = row * columns; i < (row + 1) * columns; i++) {
        values[i] = round((float) (own.nextGaussian() * deviation));
      }
    });
    return values;
  }

  long numbers(float[] values) {
    long address = device.allocate(2L * values.length + 16, "a test");
    short[] bits = new short[values.length];
    IntStream.range(0, bits.length).parallel().forEach(i -> bits[i] = numbers.bits(values[i]));
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(2L * bits.length, 8);
      MemorySegment.copy(bits, 0, memory, JAVA_SHORT, 0, bits.length);
      device.upload(address, memory);
      device.synchronize("Copying");
    }
    return address;
  }

  long floats(float[] values) {
    return device.uploadNew(values, "a test");
  }

  long ints(int... values) {
    long address = device.allocate(4L * values.length, "a test");
    try (Arena arena = Arena.ofConfined()) {
      device.upload(address, arena.allocateFrom(JAVA_INT, values));
      device.synchronize("Copying");
    }
    return address;
  }

  /** Memory full of NaN: what is not written shows. */
  long poisoned(long bytes) {
    long address = device.allocate(bytes, "a test");
    device.fill(address, 0xff, bytes);
    return address;
  }

  float[] readNumbers(long address, int count) {
    byte[] bytes = read(address, 2L * count);
    MemorySegment memory = MemorySegment.ofArray(bytes);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = numbers.value(memory.get(JAVA_SHORT.withByteAlignment(1), 2L * i));
    }
    return values;
  }

  float[] readFloats(long address, int count) {
    MemorySegment memory = MemorySegment.ofArray(read(address, 4L * count));
    return memory.toArray(JAVA_FLOAT.withByteAlignment(1));
  }

  byte[] read(long address, long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(bytes, 8);
      device.download(memory, address);
      device.synchronize("Running the kernel under test");
      return memory.toArray(JAVA_BYTE);
    }
  }

  /** {@code |actual - expected| / |expected|}; NaN when anything is. */
  static double error(float[] actual, double[] expected) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
      norm += expected[i] * expected[i];
    }
    return Math.sqrt(difference) / Math.max(1e-30, Math.sqrt(norm));
  }

  @Override
  public void close() {
    device.close();
  }
}
