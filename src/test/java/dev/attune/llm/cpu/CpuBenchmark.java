package dev.attune.llm.cpu;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * Speed of the CPU backend with the default model. Run it with the project's JVM flags and the test class path, an
 * optional argument selects benchmarks by regular expression; see docs/benchmarks.md for the command.
 */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 3)
@Measurement(iterations = 5, time = 3)
@Fork(1)
public class CpuBenchmark {

  private static final int INSTRUCTION_TOKENS = 64;
  private static final int DOCUMENT_TOKENS = 160;
  private static final int LAST_TOKENS = 50;
  private static final int LAST_POSITION = 2048;
  private static final int RANKING_LAYERS = 18;

  /** Runs the benchmarks whose names match the argument, all without one. */
  public static void main(String[] args) throws RunnerException {
    String pattern = args.length == 0 ? "CpuBenchmark" : args[0];
    new Runner(new OptionsBuilder().include(pattern).build()).run();
  }

  /** Operations per second of the matrix product, shown by JMH as {@code gflop}. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.OPERATIONS)
  public static class Flops {
    public double gflop;

    @Setup(Level.Iteration)
    public void reset() {
      gflop = 0;
    }
  }

  /** The product {@code [640,576] x [576,3072]} on two threads. */
  @State(Scope.Benchmark)
  public static class Product {
    static final int ROWS = 640;
    static final int INPUTS = 576;
    static final int OUTPUTS = 3072;
    private final WorkerPool pool = new WorkerPool(Runtime.getRuntime().availableProcessors());
    private final float[] in = new float[ROWS * INPUTS];
    private final float[] out = new float[ROWS * OUTPUTS];
    private final Gemm.Scratch[] scratch = new Gemm.Scratch[pool.threads()];
    private final PackedMatrix matrix;

    public Product() {
      Arrays.setAll(scratch, worker -> new Gemm.Scratch());
      Random random = new Random(1);
      for (int i = 0; i < in.length; i++) {
        in[i] = random.nextFloat();
      }
      matrix = PackedMatrix.pack(Arena.ofAuto(), pool, OUTPUTS, INPUTS, (row, target) -> {
        Random weights = new Random(row);
        for (int i = 0; i < target.length; i++) {
          target[i] = weights.nextFloat();
        }
      });
    }

    float[] multiply() {
      int blocks = (ROWS + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
      pool.forEach(blocks * matrix.panels(), (task, worker) -> {
        int row = task / matrix.panels() * Gemm.ROW_BLOCK;
        int panel = task % matrix.panels();
        Gemm.panel(in, row * INPUTS, INPUTS, Math.min(Gemm.ROW_BLOCK, ROWS - row), matrix, panel, out,
            row * OUTPUTS + panel * Gemm.PANEL, OUTPUTS, scratch[worker]);
      });
      return out;
    }

    @TearDown
    public void close() {
      pool.close();
    }
  }

  /** The model, and segments to attend to. */
  @State(Scope.Benchmark)
  public static class Model {
    private final LanguageModel model = TestModel.get();
    private final Random random = new Random(2);
    private final KvSegment instruction = read(INSTRUCTION_TOKENS, 0, List.of(), RANKING_LAYERS);
    private final List<KvSegment> documents = readDocuments(100);
    private final KvSegment prompt = read(400, 0, List.of(), model.config().layers());

    private int[] tokens(int count) {
      return random.ints(count, 1000, 40_000).toArray();
    }

    private KvSegment read(int count, int position, List<KvSegment> context, int layers) {
      Pass pass = new Pass(tokens(count), position, context, layers, true, Logits.NONE, null);
      return Objects.requireNonNull(model.backend().run(List.of(pass)).getFirst().kv());
    }

    private List<KvSegment> readDocuments(int count) {
      List<Pass> passes = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        passes.add(new Pass(tokens(DOCUMENT_TOKENS), INSTRUCTION_TOKENS, List.of(instruction), RANKING_LAYERS, true,
            Logits.NONE, null));
      }
      return model.backend().run(passes).stream().map(PassResult::kv).map(Objects::requireNonNull).toList();
    }

    private List<PassResult> decode(int samples) {
      List<Pass> passes = new ArrayList<>();
      for (int token : tokens(samples)) {
        passes.add(new Pass(new int[] {token}, 400, List.of(prompt), model.config().layers(), true, Logits.LAST, null));
      }
      return model.backend().run(passes);
    }
  }

  @Benchmark
  public float[] product(Product product, Flops flops) {
    flops.gflop += 2e-9 * Product.ROWS * Product.INPUTS * Product.OUTPUTS;
    return product.multiply();
  }

  /** A prompt of 400 tokens through all layers. */
  @Benchmark
  public KvSegment prefill400(Model model) {
    return model.read(400, 0, List.of(), model.model.config().layers());
  }

  /** Cold documents: 16 of 160 tokens through 18 layers, beside an instruction block of 64. */
  @Benchmark
  public List<KvSegment> documents16(Model model) {
    return model.readDocuments(16);
  }

  /** Warm ranking: a last block of 50 tokens over 100 documents of 160 tokens. */
  @Benchmark
  public float[] lastBlock100(Model model) {
    List<KvSegment> context = new ArrayList<>(model.documents);
    context.add(model.instruction);
    Probe probe = new Probe(new int[] {40, 49}, IntStream.range(0, 100).toArray());
    Pass pass =
        new Pass(model.tokens(LAST_TOKENS), LAST_POSITION, context, RANKING_LAYERS, false, Logits.NONE, probe);
    return model.model.backend().run(List.of(pass)).getFirst().attention();
  }

  /** One step of one continuation after a prompt of 400 tokens. */
  @Benchmark
  public List<PassResult> decode1(Model model) {
    return model.decode(1);
  }

  /** One step of eight continuations that share a prompt of 400 tokens. */
  @Benchmark
  public List<PassResult> decode8(Model model) {
    return model.decode(8);
  }
}
