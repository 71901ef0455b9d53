package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;

/**
 * Activations of one batch, reused between batches. Strides are rounded up to whole panels, because a product writes
 * whole panels, and rows that are inputs of products have room for the sums of their groups.
 */
final class Workspace {

  final int hiddenStride;
  final int queryStride;
  final int keyStride;
  /** Queries, keys and values of a token lie side by side. */
  final int qkvStride;
  final int attentionStride;
  final int feedForwardStride;
  /** One per worker. */
  final BlockAttention[] attention;
  /** One per worker. */
  final Gemm.Scratch[] scratch;

  /** Residual stream, {@code [tokens][hidden]}. */
  float[] residual = {};
  /** Normalised input of a product, {@code [tokens][hidden]}. */
  float[] normed = {};
  /** {@code [tokens][queries, keys, values]}. */
  float[] qkv = {};
  /** Output of attention, {@code [tokens][heads * headSize]}. */
  float[] mixed = {};
  /** {@code [tokens][feedForward]}. */
  float[] inner = {};

  Workspace(ModelConfig config, int workers) {
    hiddenStride = Gemm.inputStride(config.hidden());
    queryStride = Gemm.padded(config.heads() * config.headSize());
    keyStride = Gemm.padded(config.kvHeads() * config.headSize());
    qkvStride = queryStride + 2 * keyStride;
    attentionStride = Gemm.inputStride(config.heads() * config.headSize());
    feedForwardStride = Gemm.inputStride(config.feedForward());
    attention = new BlockAttention[workers];
    scratch = new Gemm.Scratch[workers];
    for (int i = 0; i < workers; i++) {
      scratch[i] = new Gemm.Scratch();
      attention[i] = new BlockAttention(config.headSize());
    }
  }

  void reserve(int tokens) {
    if (residual.length < tokens * hiddenStride) {
      residual = new float[tokens * hiddenStride];
      normed = new float[tokens * hiddenStride];
      qkv = new float[tokens * qkvStride];
      mixed = new float[tokens * attentionStride];
      inner = new float[tokens * feedForwardStride];
    }
  }
}
