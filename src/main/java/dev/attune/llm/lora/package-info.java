/**
 * Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685) as the PEFT library writes them: a directory with {@code
 * adapter_config.json} and {@code adapter_model.safetensors}. Backends apply them beside shared base weights.
 */
@NullMarked
package dev.attune.llm.lora;

import org.jspecify.annotations.NullMarked;
