package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.KvSegment;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.SafetensorsBytes;
import dev.attune.llm.TinyGguf;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import dev.attune.llm.cuda.ModelWeights.Kept;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.LoraFiles;
import dev.attune.llm.lora.Projection;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A large model in FP8 without its copy in 16 bits computes what it computes with it, with an adapter and without one.
 * Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class Fp8AloneTest {

  private static final int HIDDEN = 2304;
  private static final int INNER = 704;
  private static final int ATTENTION = 20 * 128;
  private static final int QKV = ATTENTION + 2 * 2 * 128;
  private static final KvPolicy POLICY = KvPolicy.parse("full+fp16");

  @TempDir private static Path directory;

  private final Gpu gpu;
  private Kernels kernels;
  private SegmentMemory memory;

  Fp8AloneTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  @BeforeAll
  static void write(Gpu gpu) throws IOException {
    Files.write(file(), TinyGguf.model(7, 2, HIDDEN, 20, 2, 128, INNER, true).bytes());
    List<Gpu.Source> sources = new ArrayList<>();
    for (int tokens : new int[] {16, 48}) {
      sources.add(new Gpu.Source("chain.cu", ProductChain.options(
          TestShapes.llama(HIDDEN, 20, 2, 128, INNER), true, tokens, gpu.device.multiprocessors)));
    }
    gpu.compile(sources);
  }

  private static Path file() {
    return directory.resolve("large.gguf");
  }

  @BeforeEach
  void open() throws IOException {
    try (Checkpoint source = Checkpoint.open(file())) {
      kernels = gpu.kernels(source.config());
    }
    memory = new SegmentMemory(gpu.device, 1L << 30);
  }

  @AfterEach
  void close() {
    memory.close();
  }

  private ModelWeights load(Checkpoint source, Kept kept) {
    return ModelWeights.load(gpu.device, kernels, source, kept);
  }

  private static int[] tokens(int seed, int count) {
    return new Random(seed).ints(count, 3, 250).toArray();
  }

  /** Documents that are read to the first layer and scored there; logits of a prompt, a last block and a step. */
  private static float[][] numbers(Function<List<Pass>, List<PassResult>> backend) {
    List<Pass> reading = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      reading.add(new Pass(tokens(i, 3 + 31 * i), 0, List.of(), 1, true, Logits.NONE, null));
    }
    List<KvSegment> read = new ArrayList<>();
    backend.apply(reading).forEach(result -> read.add(Objects.requireNonNull(result.kv())));
    Probe probe = new Probe(new int[] {20, 47}, IntStream.range(0, read.size()).toArray());
    List<float[]> numbers = new ArrayList<>();
    numbers.add(backend.apply(List.of(new Pass(tokens(20, 48), 300, read, 1, false, Logits.NONE, probe)))
        .getFirst().attention());
    // One that is kept is read as documents are.
    numbers.add(backend.apply(List.of(new Pass(tokens(20, 48), 300, read, 1, true, Logits.NONE, probe)))
        .getFirst().attention());
    PassResult prompt =
        backend.apply(List.of(new Pass(tokens(21, 200), 0, List.of(), 2, true, Logits.LAST, null))).getFirst();
    numbers.add(prompt.logits()[0]);
    List<KvSegment> context = List.of(Objects.requireNonNull(prompt.kv()));
    for (int count : new int[] {1, 48}) {
      numbers.add(backend.apply(List.of(new Pass(tokens(22, count), 200, context, 2, false, Logits.LAST, null)))
          .getFirst().logits()[0]);
    }
    return numbers.toArray(float[][]::new);
  }

  private float[][] numbers(ModelWeights weights) {
    ModelConfig config = weights.full().config();
    PassRunner runner = new PassRunner(gpu.device, kernels, weights, POLICY, new WorkCounters(config));
    return numbers(passes -> {
      Set<CudaKvSegment> context = new LinkedHashSet<>();
      passes.forEach(pass -> pass.context().forEach(segment -> context.add((CudaKvSegment) segment)));
      SegmentUse use = memory.use(
          context, passes.stream().mapToLong(pass -> PassRunner.reserve(pass, config, POLICY)).sum());
      use.await(gpu.device);
      try {
        return runner.run(passes, use);
      } finally {
        use.release();
      }
    });
  }

  private static float[][] numbers(InferenceBackend backend) {
    return numbers(backend::run);
  }

  private byte[][] bytes(ModelWeights weights) {
    List<byte[]> bytes = new ArrayList<>();
    for (Fp8Weights.Layer layer : Objects.requireNonNull(weights.fp8()).layers()) {
      add(bytes, layer.qkv(), QKV, HIDDEN);
      add(bytes, layer.attentionOutput(), HIDDEN, ATTENTION);
      add(bytes, layer.gateUp(), 2 * INNER, HIDDEN);
      add(bytes, layer.down(), HIDDEN, INNER);
    }
    for (CudaWeights.Layer layer : weights.full().layers()) {
      bytes.add(gpu.read(layer.qkv(), 2L * QKV * HIDDEN));
    }
    return bytes.toArray(byte[][]::new);
  }

  private void add(List<byte[]> bytes, Matrix matrix, int outputs, int inputs) {
    bytes.add(gpu.read(matrix.address(), (long) outputs * inputs));
    bytes.add(gpu.read(matrix.scales(), 4L * outputs));
    bytes.add(gpu.read(matrix.largestNorm(), 4));
  }

  /** Of the first layer all projections, of the second what is given. */
  private static LoraAdapter adapter(ModelConfig config, int seed, String... ofSecond) {
    Random random = new Random(seed);
    SafetensorsBytes factors = new SafetensorsBytes();
    Map<String, Projection> modules = Map.of("self_attn.q_proj", Projection.QUERY, "self_attn.k_proj", Projection.KEY,
        "self_attn.v_proj", Projection.VALUE, "self_attn.o_proj", Projection.ATTENTION_OUTPUT, "mlp.gate_proj",
        Projection.GATE, "mlp.up_proj", Projection.UP, "mlp.down_proj", Projection.DOWN);
    for (int layer = 0; layer < 2; layer++) {
      for (String module : layer == 0 ? modules.keySet().stream().sorted().toList() : List.of(ofSecond)) {
        Projection projection = modules.get(module);
        String name = "base_model.model.model.layers.%d.%s.lora_%%c.weight".formatted(layer, module);
        factors.random(name.formatted('A'), random, 0.02, 4, projection.inputs(config));
        factors.random(name.formatted('B'), random, 0.2, projection.outputs(config), 4);
      }
    }
    byte[] settings = "{\"peft_type\": \"LORA\", \"lora_alpha\": 4, \"r\": 4}".getBytes(StandardCharsets.UTF_8);
    return new LoraFiles("test", settings, factors.bytes(), null).adapter(config, "");
  }

  @Test
  void matricesScoresAndLogitsAreTheSameToTheBit() throws IOException {
    try (Checkpoint source = Checkpoint.open(file())) {
      ModelWeights both = load(source, Kept.BOTH);
      ModelWeights alone = load(source, Kept.of(source.config(), true));
      assertThat(alone.full().layers()).allSatisfy(layer -> assertThat(layer.down()).isZero());
      assertThat(Arrays.deepEquals(bytes(alone), bytes(both))).isTrue();
      float[][] expected = numbers(both);
      assertThat(numbers(alone)).isDeepEqualTo(expected);
      // They come from FP8: those of 16 bits are others.
      assertThat(numbers(load(source, Kept.FULL))[4]).isNotEqualTo(expected[4]);
    }
  }

  @Test
  void theMemoryOfTheCopyIsGivenBack() throws IOException {
    try (Checkpoint source = Checkpoint.open(file())) {
      long before = gpu.device.allocated();
      ModelWeights both = load(source, Kept.BOTH);
      long between = gpu.device.allocated();
      ModelWeights alone = load(source, Kept.FP8);
      long after = gpu.device.allocated();
      assertThat(both.bytes() - alone.bytes()).isEqualTo(2L * 2 * HIDDEN * (ATTENTION + 3 * INNER));
      assertThat(between - before - (after - between)).isEqualTo(both.bytes() - alone.bytes());
      // Beside the matrices: norms, rotations, and what fills tiles.
      assertThat(after - between).isBetween(alone.bytes(), alone.bytes() + (1 << 20));
      // An adapter's own matrices: those that it changes.
      alone.with(gpu.device, kernels, adapter(source.config(), 3), source);
      long layer = (long) HIDDEN * (3 * QKV + ATTENTION + 3 * INNER);
      assertThat(gpu.device.allocated() - after).isBetween(layer, layer + (1 << 20));
    }
  }

  @Test
  void adaptersAreAddedBeforeQuantising() throws IOException {
    try (Checkpoint source = Checkpoint.open(file())) {
      ModelWeights both = load(source, Kept.BOTH);
      ModelWeights alone = load(source, Kept.FP8);
      float[][] before = numbers(alone);
      for (String[] second : new String[][] {{}, {"mlp.down_proj"}, {"self_attn.o_proj", "mlp.up_proj"}}) {
        LoraAdapter adapter = adapter(source.config(), 3, second);
        ModelWeights expected = both.with(gpu.device, kernels, adapter, null);
        ModelWeights actual = alone.with(gpu.device, kernels, adapter, source);
        assertThat(Arrays.deepEquals(bytes(actual), bytes(expected))).isTrue();
        assertThat(numbers(actual)).isDeepEqualTo(numbers(expected));
        assertThat(numbers(actual)[0]).isNotEqualTo(before[0]);
        Fp8Weights.Layer last = Objects.requireNonNull(actual.fp8()).layer(1);
        assertThat(last.qkv()).isEqualTo(Objects.requireNonNull(alone.fp8()).layer(1).qkv());
      }
      assertThat(numbers(alone)).isDeepEqualTo(before);
    }
  }

  /** Through the backend, which reads the file again when it has been closed; several adapters side by side. */
  @Test
  void aBackendReadsItsFileAgainForAdapters() throws IOException {
    try (Checkpoint source = Checkpoint.open(file())) {
      ModelWeights both = load(source, Kept.BOTH);
      LoraAdapter one = adapter(source.config(), 3);
      LoraAdapter other = adapter(source.config(), 4, "mlp.down_proj");
      CudaBackend backend;
      try (Checkpoint again = source.again()) {
        backend = CudaBackend.load(
            again, new CudaBackend.Settings(POLICY, gpu.numbers, true, 1L << 30, 0, 1), failure -> {});
      }
      try (backend) {
        assertThat(backend.weightBytes()).isEqualTo(load(source, Kept.FP8).bytes());
        InferenceBackend withOne = backend.with(one);
        InferenceBackend withOther = withOne.with(other);
        float[][] expected = numbers(both.with(gpu.device, kernels, one, null));
        assertThat(numbers(withOne)).isDeepEqualTo(expected);
        // In its place, as on the CPU.
        assertThat(numbers(withOther)).isDeepEqualTo(numbers(both.with(gpu.device, kernels, other, null)));
        assertThat(numbers(backend)).isDeepEqualTo(numbers(both));
        assertThat(numbers(withOne)).isDeepEqualTo(expected);
      }
    }
  }
}
