package dev.attune.llm;

import dev.attune.llm.cuda.Numbers;
import jakarta.validation.Valid;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotBlank;
import jakarta.validation.constraints.NotNull;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.util.unit.DataSize;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of the language model.
 *
 * @param model path of a GGUF file or of a directory with safetensors, or {@code hf:org/name} on the hub; {@code ~/} is
 *     the home directory
 * @param cache directory of downloaded models
 * @param hub address of a hub that speaks Hugging Face's HTTP interface, or null for {@code HF_ENDPOINT}; only models
 *     named {@code hf:…} are ever looked for there
 * @param backend what computes: {@code auto} is a GPU where there is one that can run the model, otherwise the CPU;
 *     {@code cuda} is the same and warns where the GPU cannot be used
 * @param gpuMemory bytes of a GPU's memory for keys and values, 0 for 70 % of what the weights leave free
 * @param gpuHostMemory bytes of pinned memory of the host for keys and values that do not fit into {@code gpu-memory};
 *     taken when the model is loaded and the GPU computes, 0 for none
 * @param gpuKernels directory of compiled GPU kernels: compiling them takes a minute or two, at the first start only
 * @param gpuNumbers numbers of 16 bits that a GPU computes with, where the CPU has fp32: fp16, which rounds eight times
 *     finer, or bf16 for models whose activations exceed what fp16 can be, so that they become the largest number,
 *     65,504. Weights that exceed it, and a text's activations near it, are found when the model is loaded; then bf16
 *     is taken, and the log says so
 * @param gpuWeights numbers that a GPU multiplies with: full, those of {@code gpu-numbers}, or FP8 (E4M3) with a scale
 *     for each output and, for documents and prompts, each token. Large models (hidden size above 2,048, heads of 128)
 *     take two thirds of the memory, read in two thirds of the time, and use it for last blocks and decoding too;
 *     others take half as much memory again
 * @param threads threads that compute, 0 for one per core
 * @param kvPolicy how keys and values are kept, {@code retention+codec[+selection]}, for example {@code full+fp16}: see
 *     {@link dev.attune.llm.kv.KvPolicy}; {@code auto} is razor with a window of 256 tokens where the model's retrieval
 *     heads are known, otherwise {@code full+fp16}; a GPU keeps int8 and, for fp16 as for bf16,
 *     {@code gpu-numbers}
 * @param queue requests that may be at the model at the same time, most of them waiting; further ones are turned away
 * @param adapters low-rank adapters of the roles
 */
@Validated
@ConfigurationProperties("attune.llm")
record LlmProperties(
    @DefaultValue("~/.cache/attune/models/SmolLM2-135M-Instruct.Q4_1.gguf") @NotBlank String model,
    @DefaultValue("~/.cache/attune/models") @NotBlank String cache,
    @Nullable String hub,
    @DefaultValue("auto") @NotNull Backend backend,
    @DefaultValue("0") DataSize gpuMemory,
    @DefaultValue("1GB") DataSize gpuHostMemory,
    @DefaultValue("~/.cache/attune/kernels") @NotBlank String gpuKernels,
    @DefaultValue("fp16") @NotNull Numbers gpuNumbers,
    @DefaultValue("full") @NotNull GpuWeights gpuWeights,
    @DefaultValue("0") @Min(0) int threads,
    @DefaultValue(LlmProperties.AUTO) @NotBlank String kvPolicy,
    @DefaultValue("64") @Min(1) int queue,
    @DefaultValue @Valid @NotNull Adapters adapters) {

  /** Leaves a choice to the program. */
  static final String AUTO = "auto";

  /** What computes. */
  enum Backend {
    AUTO,
    CPU,
    CUDA
  }

  /** Numbers of the weights on a GPU. */
  enum GpuWeights {
    FULL,
    FP8
  }

  /**
   * Where the adapters are: path of a directory in PEFT's layout, {@code bundled} for the one that comes with this
   * program, {@code none} for the base weights as they are.
   */
  record Adapters(
      @DefaultValue(BUNDLED) @NotBlank String ranking, @DefaultValue(BUNDLED) @NotBlank String suggestion) {

    static final String BUNDLED = "bundled";
    static final String NONE = "none";

    String of(ModelRole role) {
      return switch (role) {
        case RANKING -> ranking;
        case SUGGESTION -> suggestion;
      };
    }
  }

  int threadsOrCores() {
    return threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
  }
}
