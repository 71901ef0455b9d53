package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;
import org.jspecify.annotations.Nullable;

/** What happens to a projected row before attention: bias (Qwen2), RMSNorm over each head (Qwen3), rotation. */
final class HeadInputs {

  private final ModelConfig config;
  private final Rope rope;

  HeadInputs(ModelConfig config, Rope rope) {
    this.config = config;
    this.rope = rope;
  }

  /** Makes ready the query heads of one token, which lie side by side. */
  void queries(LlamaWeights.Layer layer, float[] x, int offset, int position) {
    if (layer.bias() != null) {
      add(x, offset, layer.bias().query());
    }
    normalise(layer.queryNorm(), x, offset, config.heads());
    rope.rotate(x, offset, config.heads(), position);
  }

  void keys(LlamaWeights.Layer layer, float[] x, int offset, int position) {
    if (layer.bias() != null) {
      add(x, offset, layer.bias().key());
    }
    normalise(layer.keyNorm(), x, offset, config.kvHeads());
    rope.rotate(x, offset, config.kvHeads(), position);
  }

  void values(LlamaWeights.Layer layer, float[] x, int offset) {
    if (layer.bias() != null) {
      add(x, offset, layer.bias().value());
    }
  }

  private static void add(float[] x, int offset, float[] bias) {
    for (int i = 0; i < bias.length; i++) {
      x[offset + i] += bias[i];
    }
  }

  private void normalise(float @Nullable [] norm, float[] x, int offset, int heads) {
    int size = config.headSize();
    for (int head = 0; norm != null && head < heads; head++) {
      Lanes.rmsNorm(x, offset + head * size, norm, config.normEpsilon(), x, offset + head * size, size);
    }
  }
}
