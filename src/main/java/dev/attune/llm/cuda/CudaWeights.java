package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.checkpoint.WeightTensor;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.Projection;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Weights on the device, in {@link Numbers}. The weights of each RMSNorm are folded into the matrix that follows it, so
 * that a norm is a factor per token. What is added to the residual (embeddings, attention's output, down) is kept times
 * {@link Numbers#residualScale}. Query and key rows are in the half-split order of RoPE (GGUF files have them
 * interleaved).
 *
 * @param config of the model, its norms' epsilon fit for the residual as it is kept
 * @param embedding {@code [vocabulary][hidden]}
 * @param output {@code [padded vocabulary][hidden]}, the final norm folded in
 * @param rope {@code [context][headSize / 2]} pairs of cosine and sine in fp32
 */
record CudaWeights(ModelConfig config, long embedding, List<Layer> layers, long output, long rope) {

  /** Rows of gate and up alternate in groups of this many, so that a kernel finds both in one tile. */
  static final int GROUP = 8;

  /**
   * One block.
   *
   * @param qkv {@code [(heads + 2 kvHeads) * headSize][hidden]}: queries, keys, values
   * @param attentionOutput {@code [hidden][heads * headSize]}
   * @param gateUp {@code [2 * feedForward][hidden]}
   * @param down {@code [hidden][feedForward]}
   * @param attentionNorm folded into qkv, {@code [hidden]} in fp32
   * @param feedForwardNorm folded into gateUp, likewise
   */
  record Layer(long qkv, long attentionOutput, long gateUp, long down, long attentionNorm, long feedForwardNorm) {}

  /** Rows of {@link #output}: products are in tiles of 16. */
  int paddedVocabulary() {
    return padded(config.vocabulary());
  }

  private static int padded(int rows) {
    return (rows + 15) / 16 * 16;
  }

  /** Address of the keys' rows of a layer's {@link Layer#qkv}. */
  long keys(int layer) {
    return layers.get(layer).qkv + 2L * config.heads() * config.headSize() * config.hidden();
  }

  /** Bytes of weights on the device. */
  long bytes() {
    long layer = (config.heads() + 2L * config.kvHeads()) * config.headSize() * config.hidden()
        + (long) config.hidden() * config.heads() * config.headSize() + 3L * config.feedForward() * config.hidden();
    return 2 * (layer * config.layers() + 2L * config.vocabulary() * config.hidden());
  }

  /**
   * Copies the weights of a model to the device.
   *
   * @throws WeightRangeException when one is larger than the numbers can be
   */
  static CudaWeights load(CudaDevice device, Checkpoint source, Numbers numbers) {
    return new Loader(device, source, numbers).load();
  }

  /** A copy of the layers with an adapter added, rounded; everything else is shared. */
  CudaWeights with(CudaDevice device, Kernels kernels, LoraAdapter adapter) {
    List<Layer> adapted = new ArrayList<>();
    for (int i = 0; i < layers.size(); i++) {
      boolean changed = false;
      for (Projection projection : Projection.values()) {
        changed |= i < adapter.layers() && adapter.factors(i, projection) != null;
      }
      adapted.add(changed ? adapted(device, kernels, layers.get(i), adapter, i) : layers.get(i));
    }
    return new CudaWeights(config, embedding, adapted, output, rope);
  }

  private Layer adapted(CudaDevice device, Kernels kernels, Layer layer, LoraAdapter adapter, int index) {
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int keys = config.kvHeads() * config.headSize();
    Layer copy = new Layer(copy(device, layer.qkv, attention + 2 * keys, hidden),
        copy(device, layer.attentionOutput, hidden, attention),
        copy(device, layer.gateUp, 2 * config.feedForward(), hidden),
        copy(device, layer.down, hidden, config.feedForward()), layer.attentionNorm, layer.feedForwardNorm);
    for (Projection projection : Projection.values()) {
      LoraAdapter.Factors f = adapter.factors(index, projection);
      if (f == null) {
        continue;
      }
      // Rows lie in groups of GROUP, those of gate and up alternate.
      boolean alternating = projection == Projection.GATE || projection == Projection.UP;
      long matrix = switch (projection) {
        case QUERY -> copy.qkv;
        case KEY -> copy.qkv + 2L * attention * hidden;
        case VALUE -> copy.qkv + 2L * (attention + keys) * hidden;
        case ATTENTION_OUTPUT -> copy.attentionOutput;
        case GATE -> copy.gateUp;
        case UP -> copy.gateUp + 2L * GROUP * hidden;
        case DOWN -> copy.down;
      };
      long norm = switch (projection) {
        case QUERY, KEY, VALUE -> layer.attentionNorm;
        case GATE, UP -> layer.feedForwardNorm;
        case ATTENTION_OUTPUT, DOWN -> 0;
      };
      float scale = norm == 0 ? kernels.numbers.residualScale : 1;
      float[] scaled = f.b().clone();
      for (int i = 0; i < scaled.length; i++) {
        scaled[i] *= scale;
      }
      long a = device.uploadNew(f.a(), "an adapter");
      long b = device.uploadNew(scaled, "an adapter");
      kernels.addLowRank.launch(
          f.outputs(), 1, 128, matrix, a, b, norm, f.inputs(), f.rank(), alternating ? 2 * GROUP : GROUP);
      device.synchronize("Adding an adapter to %s of layer %d".formatted(projection, index));
      device.free(a);
      device.free(b);
    }
    return copy;
  }

  private static long copy(CudaDevice device, long matrix, int rows, int columns) {
    long bytes = 2L * rows * columns;
    long address = device.allocate(bytes, "adapted weights [%d, %d]".formatted(rows, columns));
    device.copy(address, matrix, bytes);
    return address;
  }

  /** The cosines and sines of all positions. */
  static long ropeTable(CudaDevice device, ModelConfig config) {
    double factor = config.ropeScaling().attentionFactor();
    int half = config.headSize() / 2;
    float[] table = new float[config.context() * half * 2];
    for (int i = 0; i < half; i++) {
      double frequency = config.ropeScaling().frequency(config.ropeTheta(), config.headSize(), i);
      for (int position = 0; position < config.context(); position++) {
        table[2 * (position * half + i)] = (float) (StrictMath.cos(position * frequency) * factor);
        table[2 * (position * half + i) + 1] = (float) (StrictMath.sin(position * frequency) * factor);
      }
    }
    return device.uploadNew(table, "rotations");
  }

  private static final class Loader {

    private static final int STAGING_BYTES = 32 << 20;

    private final CudaDevice device;
    private final ModelConfig config;
    private final Checkpoint source;
    private final Numbers numbers;

    Loader(CudaDevice device, Checkpoint source, Numbers numbers) {
      this.device = device;
      this.config = source.config();
      this.source = source;
      this.numbers = numbers;
    }

    CudaWeights load() {
      int hidden = config.hidden();
      int attention = config.heads() * config.headSize();
      int keys = config.kvHeads() * config.headSize();
      float residual = numbers.residualScale;
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment staging = arena.allocate(STAGING_BYTES, 64);
        List<Layer> layers = new ArrayList<>();
        for (int i = 0; i < config.layers(); i++) {
          String block = "blk." + i + ".";
          float[] attentionNorm = vector(block + "attn_norm.weight", hidden);
          float[] feedForwardNorm = vector(block + "ffn_norm.weight", hidden);
          WeightTensor q = source.tensor(block + "attn_q.weight", attention, hidden);
          WeightTensor k = source.tensor(block + "attn_k.weight", keys, hidden);
          WeightTensor v = source.tensor(block + "attn_v.weight", keys, hidden);
          long qkv = matrix(staging, attention + 2 * keys, hidden, attentionNorm, 1, (row, target) -> {
            if (row < attention) {
              q.row(halfSplit(row), target, 0);
            } else if (row < attention + keys) {
              k.row(halfSplit(row - attention), target, 0);
            } else {
              v.row(row - attention - keys, target, 0);
            }
          });
          long output = matrix(staging, hidden, attention, null, residual,
              rows(source.tensor(block + "attn_output.weight", hidden, attention)));
          WeightTensor gate = source.tensor(block + "ffn_gate.weight", config.feedForward(), hidden);
          WeightTensor up = source.tensor(block + "ffn_up.weight", config.feedForward(), hidden);
          long gateUp = matrix(staging, 2 * config.feedForward(), hidden, feedForwardNorm, 1, (row, target) ->
              (row / GROUP % 2 == 0 ? gate : up).row(row / (2 * GROUP) * GROUP + row % GROUP, target, 0));
          long down = matrix(staging, hidden, config.feedForward(), null, residual,
              rows(source.tensor(block + "ffn_down.weight", hidden, config.feedForward())));
          layers.add(new Layer(qkv, output, gateUp, down, device.uploadNew(attentionNorm, "a norm"),
              device.uploadNew(feedForwardNorm, "a norm")));
        }
        WeightTensor embedding = source.tensor("token_embd.weight", config.vocabulary(), hidden);
        WeightTensor output = source.has("output.weight")
            ? source.tensor("output.weight", config.vocabulary(), hidden) : embedding;
        return new CudaWeights(config.withNormEpsilon(config.normEpsilon() * residual * residual),
            matrix(staging, config.vocabulary(), hidden, null, residual, rows(embedding)), layers,
            matrix(staging, config.vocabulary(), hidden, vector("output_norm.weight", hidden), 1, rows(output)),
            ropeTable(device, config));
      }
    }

    /**
     * Where the file has rows permuted, it has, in each head, (2i, 2i + 1) where the model was trained with (i, i +
     * headSize / 2).
     */
    private int halfSplit(int row) {
      if (!source.interleavedRotation()) {
        return row;
      }
      int half = config.headSize() / 2;
      int inHead = row % config.headSize();
      return row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
    }

    /** Writes one row of a matrix to the start of an array. */
    private interface Rows {
      void read(int row, float[] target);
    }

    private static Rows rows(WeightTensor tensor) {
      return (row, target) -> tensor.row(row, target, 0);
    }

    private float[] vector(String name, int length) {
      float[] values = new float[length];
      source.tensor(name, 1, length).row(0, values, 0);
      return values;
    }

    /** Weights are read times {@code norm}, where there is one, and {@code scale}. */
    private long matrix(
        MemorySegment staging, int rows, int columns, float @Nullable [] norm, float scale, Rows from) {
      long bytes = 2L * padded(rows) * columns;
      long address = device.allocate(bytes, "weights [%d, %d]".formatted(rows, columns));
      device.fill(address, 0, bytes);
      float[] values = new float[columns];
      int piece = Math.max(1, STAGING_BYTES / (2 * columns));
      for (int first = 0; first < rows; first += piece) {
        int count = Math.min(piece, rows - first);
        for (int i = 0; i < count; i++) {
          from.read(first + i, values);
          float largest = 0;
          for (int j = 0; j < columns; j++) {
            float value = scale * (norm == null ? values[j] : values[j] * norm[j]);
            largest = Math.max(largest, Math.abs(value));
            staging.setAtIndex(JAVA_SHORT, (long) i * columns + j, numbers.bits(value));
          }
          if (largest > numbers.largest) {
            throw new WeightRangeException("A weight of %g is larger than %s can be".formatted(largest, numbers));
          }
        }
        device.upload(address + (long) first * columns * 2, staging.asSlice(0, (long) count * columns * 2));
        device.synchronize("Copying weights");
      }
      return address;
    }
  }
}
