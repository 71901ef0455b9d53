package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.ModelWeights.Kept;
import java.util.Collections;
import org.junit.jupiter.api.Test;

/** Which matrices a model needs, and what they take. */
class ModelWeightsTest {

  private static final ModelConfig SMALL = TestShapes.llama(30, 576, 9, 3, 64, 1536);
  /** Mistral's 7 billion. */
  private static final ModelConfig LARGE = TestShapes.llama(32, 4096, 32, 8, 128, 14336);

  @Test
  void enginesOfLargeModelsReadMostMatricesInFp8Alone() {
    assertThat(Kept.of(LARGE, true)).isEqualTo(Kept.FP8);
    assertThat(Kept.of(LARGE, false)).isEqualTo(Kept.FULL);
    assertThat(Kept.of(SMALL, true)).isEqualTo(Kept.BOTH);
    // Heads of 64: few tokens are multiplied in 16 bits.
    assertThat(Kept.of(TestShapes.llama(2304, 36, 4, 64, 704), true)).isEqualTo(Kept.BOTH);
  }

  private static ModelWeights weights(ModelConfig config, Kept kept) {
    CudaWeights.Layer layer = kept == Kept.FP8 ? new CudaWeights.Layer(1, 0, 0, 0, 5, 6)
        : new CudaWeights.Layer(1, 2, 3, 4, 5, 6);
    return new ModelWeights(
        new CudaWeights(config, 7, Collections.nCopies(config.layers(), layer), 8, 9),
        kept == Kept.FULL ? null : new Fp8Weights(Collections.emptyList()));
  }

  @Test
  void bytesOfALargeModel() {
    // Numbers of a layer: queries, keys and values; output; gate, up and down. Embeddings twice.
    long qkv = 6144L * 4096;
    long others = 4096L * 4096 + 3 * 14336L * 4096;
    long embeddings = 2 * 2 * 512 * 4096;
    long scales = 32 * 4L * (6144 + 2 * 4096 + 2 * 14336 + 4);
    assertThat(weights(LARGE, Kept.FULL).bytes()).isEqualTo(32 * 2 * (qkv + others) + embeddings);
    assertThat(weights(LARGE, Kept.BOTH).bytes()).isEqualTo(32 * 3 * (qkv + others) + embeddings + scales);
    assertThat(weights(LARGE, Kept.FP8).bytes()).isEqualTo(32 * (3 * qkv + others) + embeddings + scales);
    // 21 GB became 8.6, where 16 bits take 14.
    assertThat(weights(LARGE, Kept.BOTH).bytes() - weights(LARGE, Kept.FP8).bytes()).isEqualTo(12_348_030_976L);
  }
}
