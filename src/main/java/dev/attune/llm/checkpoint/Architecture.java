package dev.attune.llm.checkpoint;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelFileException;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.Function;

/** Decoder-only transformers that differ from Llama in details only. */
enum Architecture {
  /** SmolLM2 too. */
  LLAMA(false, false),
  /** Llama; early ones attend to a sliding window. */
  MISTRAL(false, false),
  QWEN2(true, false),
  QWEN3(false, true);

  private static final int MAX_WIDTH = 1 << 20;
  private static final int MAX_VOCABULARY = 1 << 23;
  /** Tables of rotations are made for all of it. */
  private static final int MAX_CONTEXT = 1 << 20;

  /** Queries, keys and values have biases. */
  final boolean bias;
  /** Query and key heads are normalised before they rotate. */
  final boolean headNorm;

  Architecture(boolean bias, boolean headNorm) {
    this.bias = bias;
    this.headNorm = headNorm;
  }

  String id() {
    return name().toLowerCase(Locale.ROOT);
  }

  static Architecture of(String name, Function<String, ModelFileException> error) {
    return Arrays.stream(values())
        .filter(architecture -> architecture.id().equals(name))
        .findFirst()
        .orElseThrow(() -> error.apply("architecture '%s' is not supported (%s are)"
            .formatted(name, String.join(", ", Arrays.stream(values()).map(Architecture::id).toList()))));
  }

  /** Rotary halves and the tiles of attention ask for this. */
  static void checkHeadSize(int headSize, Function<String, ModelFileException> error) {
    if (headSize < 8 || headSize % 8 != 0 || headSize > 1024) {
      throw error.apply("head size " + headSize + " is not supported (multiples of 8 are)");
    }
  }

  /** Checks what every engine here relies on. */
  static ModelConfig check(ModelConfig config, Function<String, ModelFileException> error) {
    if (config.kvHeads() < 1 || config.heads() % config.kvHeads() != 0) {
      throw error.apply("%d query heads cannot share %d key/value heads".formatted(config.heads(), config.kvHeads()));
    }
    if (!(config.normEpsilon() > 0 && config.normEpsilon() < 1) || !(config.ropeTheta() > 1)) {
      throw error.apply("RMSNorm epsilon %s or RoPE base %s is out of range"
          .formatted(config.normEpsilon(), config.ropeTheta()));
    }
    // Absurd shapes would only fail later, and less clearly.
    long largest = Math.max(Math.max((long) config.heads() * config.headSize(), config.feedForward()), config.hidden());
    if (config.layers() > 1000 || largest > MAX_WIDTH || config.vocabulary() > MAX_VOCABULARY
        || config.context() > MAX_CONTEXT) {
      throw error.apply("its shape is out of range: " + config);
    }
    return config;
  }
}
