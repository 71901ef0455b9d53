package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.RopeScaling;

/** Shapes of models for tests of kernels. */
final class TestShapes {

  static final double THETA = 10_000;

  private TestShapes() {}

  /** Two layers, a vocabulary of 512. */
  static ModelConfig llama(int hidden, int heads, int kvHeads, int headSize, int feedForward) {
    return llama(2, hidden, heads, kvHeads, headSize, feedForward);
  }

  /** A vocabulary of 512. */
  static ModelConfig llama(int layers, int hidden, int heads, int kvHeads, int headSize, int feedForward) {
    return new ModelConfig("llama", "test", layers, hidden, heads, kvHeads, headSize, feedForward, 512, 4096, THETA,
        RopeScaling.NONE, 1e-5);
  }
}
