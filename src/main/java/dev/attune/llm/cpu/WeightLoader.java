package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.checkpoint.WeightTensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Packs the tensors of a checkpoint in their own precision. */
final class WeightLoader {

  private final Checkpoint file;
  private final ModelConfig config;
  private final Arena arena;
  private final WorkerPool pool;

  WeightLoader(Checkpoint file, Arena arena, WorkerPool pool) {
    this.file = file;
    this.config = file.config();
    this.arena = arena;
    this.pool = pool;
  }

  LlamaWeights load() {
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int keys = config.kvHeads() * config.headSize();
    PackedMatrix embedding = matrix("token_embd.weight", config.vocabulary(), hidden);
    PackedMatrix output =
        file.has("output.weight") ? matrix("output.weight", config.vocabulary(), hidden) : embedding;
    List<LlamaWeights.Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      String block = "blk." + i + ".";
      layers.add(new LlamaWeights.Layer(
          vector(block + "attn_norm.weight", hidden),
          bias(block),
          optional(block + "attn_q_norm.weight"),
          optional(block + "attn_k_norm.weight"),
          rotated(block + "attn_q.weight", attention, hidden),
          rotated(block + "attn_k.weight", keys, hidden),
          matrix(block + "attn_v.weight", keys, hidden),
          matrix(block + "attn_output.weight", hidden, attention),
          vector(block + "ffn_norm.weight", hidden),
          matrix(block + "ffn_gate.weight", config.feedForward(), hidden),
          matrix(block + "ffn_up.weight", config.feedForward(), hidden),
          matrix(block + "ffn_down.weight", hidden, config.feedForward())));
    }
    return new LlamaWeights(config, embedding, layers, vector("output_norm.weight", hidden), output);
  }

  private float[] vector(String name, int length) {
    float[] values = new float[length];
    file.tensor(name, 1, length).row(0, values, 0);
    return values;
  }

  private LlamaWeights.@Nullable Bias bias(String block) {
    if (!file.has(block + "attn_q.bias")) {
      return null;
    }
    int keys = config.kvHeads() * config.headSize();
    return new LlamaWeights.Bias(vector(block + "attn_q.bias", config.heads() * config.headSize()),
        vector(block + "attn_k.bias", keys), vector(block + "attn_v.bias", keys));
  }

  /** The weights of RMSNorm over heads, where the architecture has it. */
  private float @Nullable [] optional(String name) {
    return file.has(name) ? vector(name, config.headSize()) : null;
  }

  private PackedMatrix matrix(String name, int outputs, int inputs) {
    WeightTensor tensor = file.tensor(name, outputs, inputs);
    return PackedMatrix.pack(arena, pool, tensor, row -> row);
  }

  /**
   * Query and key weights. Where the file has its rows permuted, that is undone: it has, in each head, rows
   * (2i, 2i + 1) where the model was trained with rows (i, i + headSize / 2).
   */
  private PackedMatrix rotated(String name, int outputs, int inputs) {
    if (!file.interleavedRotation()) {
      return matrix(name, outputs, inputs);
    }
    WeightTensor tensor = file.tensor(name, outputs, inputs);
    int half = config.headSize() / 2;
    return PackedMatrix.pack(arena, pool, tensor, row -> {
      int inHead = row % config.headSize();
      return row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
    });
  }
}
