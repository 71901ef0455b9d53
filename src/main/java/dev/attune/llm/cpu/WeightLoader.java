package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.gguf.GgufFile;
import dev.attune.llm.gguf.GgufTensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Dequantises the tensors of a Llama GGUF file and packs them. */
final class WeightLoader {

  private final GgufFile file;
  private final ModelConfig config;
  private final Arena arena;
  private final WorkerPool pool;

  WeightLoader(GgufFile file, ModelConfig config, Arena arena, WorkerPool pool) {
    this.file = file;
    this.config = config;
    this.arena = arena;
    this.pool = pool;
  }

  LlamaWeights load() {
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int keys = config.kvHeads() * config.headSize();
    PackedMatrix embedding = matrix("token_embd.weight", config.vocabulary(), hidden);
    PackedMatrix output =
        file.hasTensor("output.weight") ? matrix("output.weight", config.vocabulary(), hidden) : embedding;
    List<LlamaWeights.Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      String block = "blk." + i + ".";
      layers.add(new LlamaWeights.Layer(
          vector(block + "attn_norm.weight", hidden),
          rotated(block + "attn_q.weight", attention, hidden),
          rotated(block + "attn_k.weight", keys, hidden),
          matrix(block + "attn_v.weight", keys, hidden),
          matrix(block + "attn_output.weight", hidden, attention),
          vector(block + "ffn_norm.weight", hidden),
          matrix(block + "ffn_gate.weight", config.feedForward(), hidden),
          matrix(block + "ffn_up.weight", config.feedForward(), hidden),
          matrix(block + "ffn_down.weight", hidden, config.feedForward())));
    }
    float[] divisors = new float[config.headSize() / 2];
    Arrays.fill(divisors, 1);
    if (file.hasTensor("rope_freqs.weight")) {
      divisors = vector("rope_freqs.weight", divisors.length);
    }
    return new LlamaWeights(config, embedding, layers, vector("output_norm.weight", hidden), output, divisors);
  }

  private float[] vector(String name, int length) {
    float[] values = new float[length];
    file.tensor(name, 1, length).row(0, values, 0);
    return values;
  }

  private PackedMatrix matrix(String name, int outputs, int inputs) {
    GgufTensor tensor = file.tensor(name, outputs, inputs);
    return PackedMatrix.pack(arena, pool, outputs, inputs, (row, target) -> tensor.row(row, target, 0));
  }

  /**
   * Query and key weights with their rows un-permuted: the file has, in each head, rows (2i, 2i + 1) where the model
   * was trained with rows (i, i + headSize / 2).
   */
  private PackedMatrix rotated(String name, int outputs, int inputs) {
    GgufTensor tensor = file.tensor(name, outputs, inputs);
    int half = config.headSize() / 2;
    return PackedMatrix.pack(arena, pool, outputs, inputs, (row, target) -> {
      int inHead = row % config.headSize();
      int source = row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
      tensor.row(source, target, 0);
    });
  }
}
