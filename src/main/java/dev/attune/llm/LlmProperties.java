package dev.attune.llm;

import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotBlank;
import jakarta.validation.constraints.NotNull;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of the language model.
 *
 * @param model path of a GGUF file of a Llama-architecture model, or of a directory that holds exactly one; {@code ~/} is
 *     the home directory
 * @param backend what computes: {@code auto} takes the best that is there
 * @param threads threads that compute, 0 for one per core
 * @param kvPolicy how keys and values are kept, {@code retention+codec[+selection]}, for example {@code full+bf16}
 */
@Validated
@ConfigurationProperties("attune.llm")
record LlmProperties(
    @DefaultValue("~/.cache/attune/models/SmolLM2-135M-Instruct.Q4_1.gguf") @NotBlank String model,
    @DefaultValue("auto") @NotNull Backend backend,
    @DefaultValue("0") @Min(0) int threads,
    @DefaultValue("full+bf16") @NotBlank String kvPolicy) {

  /** What computes. */
  enum Backend {
    AUTO,
    CPU,
    CUDA
  }

  int threadsOrCores() {
    return threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
  }
}
