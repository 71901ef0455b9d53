package dev.attune.llm.lora;

import dev.attune.llm.ModelConfig;

/** A matrix of a layer that an adapter can change. */
public enum Projection {
  QUERY("self_attn.q_proj"),
  KEY("self_attn.k_proj"),
  VALUE("self_attn.v_proj"),
  ATTENTION_OUTPUT("self_attn.o_proj"),
  GATE("mlp.gate_proj"),
  UP("mlp.up_proj"),
  DOWN("mlp.down_proj");

  /** Module of the layer in Hugging Face's names. */
  final String module;

  Projection(String module) {
    this.module = module;
  }

  /** Width of the matrix's input. */
  public int inputs(ModelConfig config) {
    return switch (this) {
      case ATTENTION_OUTPUT -> config.heads() * config.headSize();
      case DOWN -> config.feedForward();
      default -> config.hidden();
    };
  }

  /** Width of the matrix's output. */
  public int outputs(ModelConfig config) {
    return switch (this) {
      case QUERY -> config.heads() * config.headSize();
      case KEY, VALUE -> config.kvHeads() * config.headSize();
      case GATE, UP -> config.feedForward();
      case ATTENTION_OUTPUT, DOWN -> config.hidden();
    };
  }
}
