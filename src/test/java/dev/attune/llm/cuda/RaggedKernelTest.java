package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Segments whose heads differ, and attention over them, against plain code in double precision on sizes that fill no
 * tile. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class RaggedKernelTest {

  private static final int LAYERS = 2;
  /** Results are rounded to 16 bits. */
  private static final double TOLERANCE = 4e-3;

  private final Gpu gpu;

  RaggedKernelTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  /** The slots of one KV head of a layer, as floats; the first {@code biased} may have a bias. */
  private record Head(float[][] keys, float[][] values, double[] biases, int biased) {}

  private SegmentEditor editor(Kernels kernels) {
    return new SegmentEditor(gpu.device, kernels, new SegmentMemory(gpu.device, 1L << 32));
  }

  private CudaKvSegment segment(ModelConfig config, Random random, int tokens, int position) {
    CudaKvSegment.Shape shape = CudaKvSegment.Shape.whole(
        gpu.numbers.codec, config.kvHeads(), config.headSize(), tokens, LAYERS, LAYERS, position);
    long address = gpu.numbers(gpu.random(random, (int) (shape.bytes() / 2), 1));
    return new CudaKvSegment(shape, address, random.nextLong());
  }

  private List<Head> read(CudaKvSegment segment) {
    CudaKvSegment.Shape shape = segment.shape;
    ByteBuffer bytes =
        ByteBuffer.wrap(gpu.read(segment.address(), shape.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    List<Head> heads = new ArrayList<>();
    for (int layer = 0; layer < shape.layers(); layer++) {
      for (int head = 0; head < shape.kvHeads(); head++) {
        long keys = shape.kvHeads() * layer * (shape.keyBytes() + shape.valueBytes()) + head * shape.keyBytes();
        long values = shape.kvHeads() * (layer * (shape.keyBytes() + shape.valueBytes()) + shape.keyBytes())
            + head * shape.valueBytes();
        int slots = shape.slots();
        int biased = 0;
        if (segment.ragged()) {
          int entry = 24 * (layer * shape.kvHeads() + head);
          keys = bytes.getLong(entry);
          values = bytes.getLong(entry + 8);
          slots = bytes.getInt(entry + 16);
          biased = bytes.getInt(entry + 20);
          assertThat(slots).isEqualTo(segment.slots(layer, head));
        }
        heads.add(head(bytes, shape, (int) keys, (int) values, slots, biased));
      }
    }
    return heads;
  }

  private Head head(ByteBuffer bytes, CudaKvSegment.Shape shape, int keys, int values, int slots, int biased) {
    int d = shape.headSize();
    boolean int8 = shape.codec() == KvCodec.INT8;
    Head head = new Head(new float[slots][d], new float[slots][d], new double[slots], biased);
    int scales = keys + 4 * ((biased + 3) & ~3);
    int keyNumbers = scales + (int8 ? 4 * d : 0);
    int valueNumbers = values + (int8 ? 4 * ((slots + 3) & ~3) : 0);
    for (int i = 0; i < slots; i++) {
      head.biases[i] = i < biased ? bytes.getFloat(keys + 4 * i) : 0;
      for (int j = 0; j < d; j++) {
        int at = i * d + j;
        head.keys[i][j] = int8 ? bytes.get(keyNumbers + at) * bytes.getFloat(scales + 4 * j)
            : gpu.numbers.value(bytes.getShort(keyNumbers + 2 * at));
        head.values[i][j] = int8 ? bytes.get(valueNumbers + at) * bytes.getFloat(values + 4 * i)
            : gpu.numbers.value(bytes.getShort(valueNumbers + 2 * at));
      }
    }
    return head;
  }

  /** Some heads keep nothing, some all, some a few; the choice is the same each time that it is asked for. */
  private static Retained some(Random random) {
    Map<List<Integer>, int[]> chosen = new HashMap<>();
    long seed = random.nextLong();
    return new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        return chosen.computeIfAbsent(List.of(layer, kvHead), key -> {
          Random own = new Random(seed + key.hashCode());
          int share = own.nextInt(5);
          return IntStream.range(0, available).filter(i -> own.nextInt(4) < share).toArray();
        });
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return (layer + kvHead) % 2 == 0;
      }
    };
  }

  /**
   * What a head should become before it is stored: kept slots with a bias, then the others, the mean of the rest first.
   */
  private static Head expected(List<Head> parts, int[] kept, boolean compensated, int d) {
    List<float[]> keys = new ArrayList<>();
    List<float[]> values = new ArrayList<>();
    List<Double> biases = new ArrayList<>();
    List<Boolean> biased = new ArrayList<>();
    for (Head part : parts) {
      IntStream.range(0, part.keys.length).forEach(i -> biased.add(i < part.biased));
      keys.addAll(List.of(part.keys));
      values.addAll(List.of(part.values));
      Arrays.stream(part.biases).forEach(biases::add);
    }
    List<Integer> order = new ArrayList<>();
    Arrays.stream(kept).filter(biased::get).forEach(order::add);
    int withBias = order.size();
    Arrays.stream(kept).filter(i -> !biased.get(i)).forEach(order::add);
    List<Integer> dropped =
        IntStream.range(0, keys.size()).filter(i -> Arrays.binarySearch(kept, i) < 0).boxed().toList();
    boolean mean = compensated && !dropped.isEmpty();
    int size = order.size() + (mean ? 1 : 0);
    Head head = new Head(new float[size][], new float[size][], new double[size], withBias + (mean ? 1 : 0));
    int at = 0;
    if (mean) {
      double total = dropped.stream().mapToDouble(i -> Math.exp(biases.get(i))).sum();
      head.keys[0] = new float[d];
      head.values[0] = new float[d];
      for (int j = 0; j < d; j++) {
        double key = 0;
        double value = 0;
        for (int i : dropped) {
          key += Math.exp(biases.get(i)) / total * keys.get(i)[j];
          value += Math.exp(biases.get(i)) / total * values.get(i)[j];
        }
        head.keys[0][j] = (float) key;
        head.values[0][j] = (float) value;
      }
      head.biases[at++] = Math.log(total);
    }
    for (int i : order) {
      head.keys[at] = keys.get(i);
      head.values[at] = values.get(i);
      head.biases[at++] = biases.get(i);
    }
    return head;
  }

  /** A segment of chosen slots, checked against what it should be. */
  private CudaKvSegment retain(
      Kernels kernels, List<CudaKvSegment> parts, Retained retained, KvCodec codec) {
    int tokens = parts.stream().mapToInt(CudaKvSegment::tokens).sum();
    KeptSlots kept = KeptSlots.of(parts, parts.getFirst().shape.kvHeads(), retained);
    CudaKvSegment result = editor(kernels).retain(parts, kept, codec, parts.getFirst().firstPosition(), tokens);
    CudaKvSegment.Shape shape = result.shape;
    assertThat(shape.codec()).isEqualTo(codec);
    List<Head> actual = read(result);
    List<List<Head>> sources = parts.stream().map(this::read).toList();
    for (int i = 0; i < actual.size(); i++) {
      int layer = i / shape.kvHeads();
      int head = i % shape.kvHeads();
      int index = i;
      List<Head> own = sources.stream().map(heads -> heads.get(index)).toList();
      int available = own.stream().mapToInt(part -> part.keys.length).sum();
      Head should = expected(own, retained.slots(layer, head, available), retained.compensated(layer, head),
          shape.headSize());
      assertThat(actual.get(i).biases).as("biases of head %d", i).containsExactly(should.biases, within(1e-4));
      assertThat(actual.get(i).biased).as("biased slots of head %d", i).isEqualTo(should.biased);
      if (should.keys.length > 0) {
        same(codec, flat(actual.get(i).keys), flat(should.keys), "keys of head " + i);
        same(codec, flat(actual.get(i).values), flat(should.values), "values of head " + i);
      }
    }
    return result;
  }

  /** Half a step of int8, whose scale is that of numbers up to 5 or so, or rounding to 16 bits. */
  private void same(KvCodec codec, float[] actual, float[] expected, String what) {
    if (codec == KvCodec.INT8) {
      // AssertJ's comparison takes seconds for so many.
      double largest = IntStream.range(0, expected.length).mapToDouble(i -> Math.abs(actual[i] - expected[i])).max()
          .orElse(0);
      assertThat(largest).as(what).isLessThan(0.022);
    } else {
      assertThat(Gpu.error(actual, Reference.toDouble(expected))).as(what).isLessThan(gpu.tolerance(TOLERANCE));
    }
  }

  private static float[] flat(float[][] rows) {
    float[] all = new float[rows.length * rows[0].length];
    for (int i = 0; i < rows.length; i++) {
      System.arraycopy(rows[i], 0, all, i * rows[0].length, rows[0].length);
    }
    return all;
  }

  @ParameterizedTest
  @CsvSource({"64,3,1", "64,3,17", "64,2,97", "128,2,160", "128,5,37"})
  void headsKeepWhatTheyAreToKeep(int headSize, int kvHeads, int tokens) {
    ModelConfig config = TestShapes.llama(128, kvHeads, kvHeads, headSize, 128);
    Kernels kernels = gpu.kernels(config);
    Random random = new Random(tokens);
    CudaKvSegment first = segment(config, random, tokens, 0);
    CudaKvSegment second = editor(kernels).recode(segment(config, random, tokens + 3, tokens), KvCodec.INT8);
    for (KvCodec codec : new KvCodec[] {gpu.numbers.codec, KvCodec.INT8}) {
      CudaKvSegment once = retain(kernels, List.of(first, second), some(random), codec);
      assertThat(once.ragged()).isTrue();
      assertThat(once.reduced()).isTrue();
      assertThat(once.bytes()).isEqualTo(once.shape.heads().bytes());
      // Again, the same slots of one and of others beside it: biases and means of means.
      retain(kernels, List.of(once), some(random), codec);
      retain(kernels, List.of(once), KeptSlots.ALL, codec == KvCodec.INT8 ? gpu.numbers.codec : KvCodec.INT8);
      CudaKvSegment more = segment(config, random, 5, 2 * tokens + 3);
      retain(kernels, List.of(once, more), some(random), codec);
      CudaKvSegment nothing =
          retain(kernels, List.of(first), (layer, head, available) -> new int[0], gpu.numbers.codec);
      assertThat(nothing.meanSlots()).isZero();
      retain(kernels, List.of(nothing, second), KeptSlots.ALL, codec);
    }
    // As many slots of all heads, not the same ones.
    CudaKvSegment equal = retain(kernels, List.of(first),
        (layer, head, available) -> new int[] {head % available}, gpu.numbers.codec);
    assertThat(equal.ragged()).isFalse();
  }

  @ParameterizedTest
  @CsvSource({"9,3,64,1,0", "9,3,64,1,1", "6,2,64,3,17", "9,3,64,1,97", "8,2,128,1,160", "5,5,128,2,37", "7,1,64,17,60",
      "9,3,64,64,300", "9,3,64,1,3000", "8,2,128,1,9000"})
  void attentionOverHeadsThatDiffer(int heads, int kvHeads, int headSize, int rows, int tokens) {
    ModelConfig config = TestShapes.llama(128, heads, kvHeads, headSize, 128);
    Kernels kernels = gpu.kernels(config);
    Random random = new Random(rows + tokens);
    List<BatchPlan.Sequence> batch = new ArrayList<>();
    int all = 0;
    for (int i = 0; i < (tokens > 1000 ? 2 : 3); i++) {
      List<CudaKvSegment> context = new ArrayList<>();
      if (tokens > 0) {
        CudaKvSegment plain = segment(config, random, tokens, 0);
        CudaKvSegment int8 = editor(kernels).recode(segment(config, random, tokens, 0), KvCodec.INT8);
        context.add(retain(kernels, List.of(plain), some(random), gpu.numbers.codec));
        context.add(retain(kernels, List.of(int8), some(random), KvCodec.INT8));
        context.add(segment(config, random, 1 + tokens / 3, 0));
        context.add(int8);
        for (int j = 0; j < i * 40; j++) {
          context.add(segment(config, random, 1, 0));
        }
      }
      // The tests of the engines let sequences of another number of tokens share a batch, and so does this.
      int own = Math.max(1, rows - i * rows / 3);
      all += own;
      batch.add(new BatchPlan.Sequence(new int[own], 0, context, segment(config, random, own, 0), false));
    }
    float[] q = gpu.random(random, all * heads * headSize, 2);
    for (int layer = 0; layer < LAYERS; layer++) {
      double[] expected = attention(config, batch, q, layer);
      for (int fewRows : new int[] {0, all}) {
        RaggedAttention attention = new RaggedAttention(gpu.device, config, kernels, fewRows);
        long out = gpu.poisoned(2L * q.length);
        attention.prepare(batch);
        // Twice, which must give the same bits.
        attention.run(layer, all, attention.parts(), gpu.numbers(q), out);
        float[] first = gpu.readNumbers(out, q.length);
        gpu.device.fill(out, 0xff, 2L * q.length);
        attention.run(layer, all, attention.parts(), gpu.numbers(q), out);
        float[] actual = gpu.readNumbers(out, q.length);
        assertThat(actual).isEqualTo(first);
        assertThat(Gpu.error(actual, expected)).as("layer %d, few rows %d", layer, fewRows)
            .isLessThan(gpu.tolerance(TOLERANCE));
      }
    }
    // A sequence alone gives the bits that it gives among others.
    RaggedAttention attention = new RaggedAttention(gpu.device, config, kernels, all);
    long together = gpu.poisoned(2L * q.length);
    attention.prepare(batch);
    attention.run(1, all, attention.parts(), gpu.numbers(q), together);
    int own = batch.getLast().tokens().length * heads * headSize;
    long alone = gpu.poisoned(2L * own);
    attention.prepare(List.of(batch.getLast()));
    long queries = gpu.numbers(Arrays.copyOfRange(q, q.length - own, q.length));
    attention.run(1, batch.getLast().tokens().length, attention.parts(), queries, alone);
    assertThat(gpu.readNumbers(alone, own))
        .isEqualTo(Arrays.copyOfRange(gpu.readNumbers(together, q.length), q.length - own, q.length));
  }

  private double[] attention(ModelConfig config, List<BatchPlan.Sequence> batch, float[] q, int layer) {
    int d = config.headSize();
    int group = config.heads() / config.kvHeads();
    double[] out = new double[q.length];
    int row = 0;
    for (BatchPlan.Sequence s : batch) {
      List<List<Head>> context = s.context().stream().map(this::read).toList();
      List<Head> own = read(s.own());
      for (int token = 0; token < s.tokens().length; token++, row++) {
        for (int h = 0; h < config.heads(); h++) {
          int index = layer * config.kvHeads() + h / group;
          int at = (row * config.heads() + h) * d;
          List<Head> visible = new ArrayList<>();
          context.forEach(segment -> visible.add(segment.get(index)));
          Head mine = own.get(index);
          visible.add(new Head(Arrays.copyOf(mine.keys, token + 1), mine.values, new double[token + 1], 0));
          double total = 0;
          for (Head head : visible) {
            for (int i = 0; i < head.keys.length; i++) {
              double logit = 0;
              for (int j = 0; j < d; j++) {
                logit += (double) q[at + j] * head.keys[i][j];
              }
              double weight = Math.exp(logit / Math.sqrt(d) + head.biases[i]);
              total += weight;
              for (int j = 0; j < d; j++) {
                out[at + j] += weight * head.values[i][j];
              }
            }
          }
          for (int j = 0; j < d; j++) {
            out[at + j] /= total;
          }
        }
      }
    }
    return out;
  }
}
