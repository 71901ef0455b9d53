package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.attune.llm.ModelConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Weights on the device, in bf16. The weights of each RMSNorm are folded into the matrix that follows it, so that a norm
 * is a factor per token. Query and key rows are in the half-split order of RoPE (GGUF files have them interleaved).
 *
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
   */
  record Layer(long qkv, long attentionOutput, long gateUp, long down) {}

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

  /** Copies the weights of a model to the device. */
  static CudaWeights load(CudaDevice device, ModelConfig config, TensorSource source) {
    return new Loader(device, config, source).load();
  }

  /** The cosines and sines of all positions. */
  static long ropeTable(CudaDevice device, ModelConfig config, float[] divisors) {
    int half = config.headSize() / 2;
    float[] table = new float[config.context() * half * 2];
    for (int i = 0; i < half; i++) {
      double frequency = StrictMath.pow(config.ropeTheta(), -2.0 * i / config.headSize()) / divisors[i];
      for (int position = 0; position < config.context(); position++) {
        table[2 * (position * half + i)] = (float) StrictMath.cos(position * frequency);
        table[2 * (position * half + i) + 1] = (float) StrictMath.sin(position * frequency);
      }
    }
    return device.uploadNew(table, "rotations");
  }

  /** Rounds to bf16, to nearest even. */
  static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  private static final class Loader {

    private static final int STAGING_BYTES = 32 << 20;

    private final CudaDevice device;
    private final ModelConfig config;
    private final TensorSource source;

    Loader(CudaDevice device, ModelConfig config, TensorSource source) {
      this.device = device;
      this.config = config;
      this.source = source;
    }

    CudaWeights load() {
      int hidden = config.hidden();
      int attention = config.heads() * config.headSize();
      int keys = config.kvHeads() * config.headSize();
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment staging = arena.allocate(STAGING_BYTES, 64);
        List<Layer> layers = new ArrayList<>();
        for (int i = 0; i < config.layers(); i++) {
          String block = "blk." + i + ".";
          float[] attentionNorm = vector(block + "attn_norm.weight", hidden);
          float[] feedForwardNorm = vector(block + "ffn_norm.weight", hidden);
          TensorSource.Rows q = source.tensor(block + "attn_q.weight", attention, hidden);
          TensorSource.Rows k = source.tensor(block + "attn_k.weight", keys, hidden);
          TensorSource.Rows v = source.tensor(block + "attn_v.weight", keys, hidden);
          long qkv = matrix(staging, attention + 2 * keys, hidden, attentionNorm, (row, target) -> {
            if (row < attention) {
              q.read(halfSplit(row), target);
            } else if (row < attention + keys) {
              k.read(halfSplit(row - attention), target);
            } else {
              v.read(row - attention - keys, target);
            }
          });
          long output = matrix(staging, hidden, attention, null,
              source.tensor(block + "attn_output.weight", hidden, attention));
          TensorSource.Rows gate = source.tensor(block + "ffn_gate.weight", config.feedForward(), hidden);
          TensorSource.Rows up = source.tensor(block + "ffn_up.weight", config.feedForward(), hidden);
          long gateUp = matrix(staging, 2 * config.feedForward(), hidden, feedForwardNorm, (row, target) ->
              (row / GROUP % 2 == 0 ? gate : up).read(row / (2 * GROUP) * GROUP + row % GROUP, target));
          long down = matrix(staging, hidden, config.feedForward(), null,
              source.tensor(block + "ffn_down.weight", hidden, config.feedForward()));
          layers.add(new Layer(qkv, output, gateUp, down));
        }
        TensorSource.Rows embedding = source.tensor("token_embd.weight", config.vocabulary(), hidden);
        TensorSource.Rows output = source.has("output.weight")
            ? source.tensor("output.weight", config.vocabulary(), hidden) : embedding;
        float[] divisors = new float[config.headSize() / 2];
        Arrays.fill(divisors, 1);
        if (source.has("rope_freqs.weight")) {
          divisors = vector("rope_freqs.weight", divisors.length);
        }
        return new CudaWeights(config, matrix(staging, config.vocabulary(), hidden, null, embedding), layers,
            matrix(staging, config.vocabulary(), hidden, vector("output_norm.weight", hidden), output),
            ropeTable(device, config, divisors));
      }
    }

    /** The file has, in each head, rows (2i, 2i + 1) where the model was trained with (i, i + headSize / 2). */
    private int halfSplit(int row) {
      int half = config.headSize() / 2;
      int inHead = row % config.headSize();
      return row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
    }

    private float[] vector(String name, int length) {
      float[] values = new float[length];
      source.tensor(name, 1, length).read(0, values);
      return values;
    }

    private long matrix(
        MemorySegment staging, int rows, int columns, float @Nullable [] norm,
        TensorSource.Rows from) {
      long bytes = 2L * padded(rows) * columns;
      long address = device.allocate(bytes, "weights [%d, %d]".formatted(rows, columns));
      device.fill(address, 0, bytes);
      float[] values = new float[columns];
      int piece = Math.max(1, STAGING_BYTES / (2 * columns));
      for (int first = 0; first < rows; first += piece) {
        int count = Math.min(piece, rows - first);
        for (int i = 0; i < count; i++) {
          from.read(first + i, values);
          for (int j = 0; j < columns; j++) {
            float value = norm == null ? values[j] : values[j] * norm[j];
            staging.setAtIndex(JAVA_SHORT, (long) i * columns + j, toBf16(value));
          }
        }
        device.upload(address + (long) first * columns * 2, staging.asSlice(0, (long) count * columns * 2));
        device.synchronize("Copying weights");
      }
      return address;
    }
  }
}
