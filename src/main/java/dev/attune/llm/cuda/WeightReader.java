package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.checkpoint.WeightTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Copies the matrices of a checkpoint to the device, as {@link CudaWeights} says they are there; on one thread. Each
 * throws {@link NumberRangeException} when a weight is larger than the numbers can be.
 */
final class WeightReader implements AutoCloseable {

  private static final int STAGING_BYTES = 32 << 20;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Checkpoint source;
  private final Numbers numbers;
  private final int attention;
  private final int keys;
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment staging = arena.allocate(STAGING_BYTES, 64);

  WeightReader(CudaDevice device, Checkpoint source, Numbers numbers) {
    this.device = device;
    this.config = source.config();
    this.source = source;
    this.numbers = numbers;
    attention = config.heads() * config.headSize();
    keys = config.kvHeads() * config.headSize();
  }

  /** What is not in layers, with these. */
  CudaWeights weights(List<CudaWeights.Layer> layers) {
    int hidden = config.hidden();
    float residual = numbers.residualScale;
    WeightTensor embedding = source.tensor("token_embd.weight", config.vocabulary(), hidden);
    WeightTensor output = source.has("output.weight")
        ? source.tensor("output.weight", config.vocabulary(), hidden) : embedding;
    return new CudaWeights(config.withNormEpsilon(config.normEpsilon() * residual * residual),
        matrix(config.vocabulary(), hidden, null, residual, rows(embedding)), List.copyOf(layers),
        matrix(config.vocabulary(), hidden, vector("output_norm.weight"), 1, rows(output)),
        CudaWeights.ropeTable(device, config));
  }

  CudaWeights.Layer layer(int index) {
    return new CudaWeights.Layer(qkv(index), attentionOutput(index), gateUp(index), down(index),
        device.uploadNew(vector(name(index, "attn_norm")), "a norm"),
        device.uploadNew(vector(name(index, "ffn_norm")), "a norm"));
  }

  private long qkv(int layer) {
    int hidden = config.hidden();
    WeightTensor q = source.tensor(name(layer, "attn_q"), attention, hidden);
    WeightTensor k = source.tensor(name(layer, "attn_k"), keys, hidden);
    WeightTensor v = source.tensor(name(layer, "attn_v"), keys, hidden);
    return matrix(attention + 2 * keys, hidden, vector(name(layer, "attn_norm")), 1, (row, target) -> {
      if (row < attention) {
        q.row(halfSplit(row), target, 0);
      } else if (row < attention + keys) {
        k.row(halfSplit(row - attention), target, 0);
      } else {
        v.row(row - attention - keys, target, 0);
      }
    });
  }

  /** {@link CudaWeights.Layer#attentionOutput} of a layer. */
  long attentionOutput(int layer) {
    return matrix(config.hidden(), attention, null, numbers.residualScale,
        rows(source.tensor(name(layer, "attn_output"), config.hidden(), attention)));
  }

  /** {@link CudaWeights.Layer#gateUp} of a layer. */
  long gateUp(int layer) {
    int group = CudaWeights.GROUP;
    WeightTensor gate = source.tensor(name(layer, "ffn_gate"), config.feedForward(), config.hidden());
    WeightTensor up = source.tensor(name(layer, "ffn_up"), config.feedForward(), config.hidden());
    return matrix(2 * config.feedForward(), config.hidden(), vector(name(layer, "ffn_norm")), 1, (row, target) ->
        (row / group % 2 == 0 ? gate : up).row(row / (2 * group) * group + row % group, target, 0));
  }

  /** {@link CudaWeights.Layer#down} of a layer. */
  long down(int layer) {
    return matrix(config.hidden(), config.feedForward(), null, numbers.residualScale,
        rows(source.tensor(name(layer, "ffn_down"), config.hidden(), config.feedForward())));
  }

  private static String name(int layer, String tensor) {
    return "blk." + layer + "." + tensor + ".weight";
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

  private float[] vector(String name) {
    float[] values = new float[config.hidden()];
    source.tensor(name, 1, values.length).row(0, values, 0);
    return values;
  }

  /** Weights are read times {@code norm}, where there is one, and {@code scale}. */
  private long matrix(int rows, int columns, float @Nullable [] norm, float scale, Rows from) {
    long bytes = 2L * CudaWeights.padded(rows) * columns;
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
          throw new NumberRangeException("A weight of %g is larger than %s can be".formatted(largest, numbers));
        }
      }
      device.upload(address + (long) first * columns * 2, staging.asSlice(0, (long) count * columns * 2));
      device.synchronize("Copying weights");
    }
    return address;
  }

  @Override
  public void close() {
    arena.close();
  }
}
