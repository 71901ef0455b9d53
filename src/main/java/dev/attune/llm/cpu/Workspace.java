package dev.attune.llm.cpu;

import dev.attune.llm.ModelConfig;

/**
 * Activations of one batch, reused between batches. Strides are rounded up to whole panels, because a product writes
 * whole panels.
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
  /** Scratch for one panel of a product per worker, {@code [ROW_BLOCK][PANEL]}. */
  final float[][] panel;

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
    hiddenStride = Lanes.padded(config.hidden());
    queryStride = Lanes.padded(config.heads() * config.headSize());
    keyStride = Lanes.padded(config.kvHeads() * config.headSize());
    qkvStride = queryStride + 2 * keyStride;
    attentionStride = queryStride;
    feedForwardStride = Lanes.padded(config.feedForward());
    attention = new BlockAttention[workers];
    panel = new float[workers][Gemm.ROW_BLOCK * Lanes.PANEL];
    for (int i = 0; i < workers; i++) {
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
