package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.lora.LoraAdapter;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A model's weights on the device.
 *
 * @param full in 16 bits, as far as they are kept
 * @param fp8 in FP8, or null
 */
record ModelWeights(CudaWeights full, @Nullable Fp8Weights fp8) {

  /** What of the layers' matrices is on the device. */
  enum Kept {
    /** All in 16 bits. */
    FULL,
    /** All in 16 bits and in FP8. */
    BOTH,
    /** All in FP8; in 16 bits those of queries, keys and values alone. */
    FP8;

    /** What the engines read of a model. */
    static Kept of(ModelConfig config, boolean fp8) {
      return !fp8 ? FULL : ProductChain.fitsFp8(config) ? FP8 : BOTH;
    }
  }

  /**
   * Copies a model to the device. A layer's matrices that are kept in FP8 alone are in 16 bits too while it is read.
   *
   * @throws NumberRangeException when a weight is larger than the numbers can be
   */
  static ModelWeights load(CudaDevice device, Kernels kernels, Checkpoint source, Kept kept) {
    List<CudaWeights.Layer> layers = new ArrayList<>();
    List<Fp8Weights.Layer> quantised = new ArrayList<>();
    try (WeightReader reader = new WeightReader(device, source, kernels.numbers);
        Fp8Quantiser quantiser = new Fp8Quantiser(device, kernels, source.config())) {
      for (int i = 0; i < source.config().layers(); i++) {
        CudaWeights.Layer layer = reader.layer(i);
        if (kept != Kept.FULL) {
          quantised.add(quantiser.layer(layer));
        }
        layers.add(kept == Kept.FP8 ? inFp8Alone(device, layer) : layer);
      }
      return new ModelWeights(reader.weights(layers), kept == Kept.FULL ? null : new Fp8Weights(quantised));
    }
  }

  /** Gives back what has been quantised; waits for that. */
  private static CudaWeights.Layer inFp8Alone(CudaDevice device, CudaWeights.Layer layer) {
    device.synchronize("Quantising weights");
    device.free(layer.attentionOutput());
    device.free(layer.gateUp());
    device.free(layer.down());
    return new CudaWeights.Layer(layer.qkv(), 0, 0, 0, layer.attentionNorm(), layer.feedForwardNorm());
  }

  /**
   * The same with an adapter added, rounded, and then quantised: matrices that it does not change are shared.
   *
   * @param source what they were read from, for those that are kept in FP8 alone; may be null where there are none
   */
  ModelWeights with(CudaDevice device, Kernels kernels, LoraAdapter adapter, @Nullable Checkpoint source) {
    List<CudaWeights.Layer> layers = new ArrayList<>();
    List<Fp8Weights.Layer> quantised = new ArrayList<>();
    try (WeightReader reader = source == null ? null : new WeightReader(device, source, kernels.numbers);
        Fp8Quantiser quantiser = new Fp8Quantiser(device, kernels, full.config())) {
      AddedAdapter added = new AddedAdapter(device, kernels, full.config(), adapter, reader);
      for (int i = 0; i < full.layers().size(); i++) {
        CudaWeights.Layer before = full.layers().get(i);
        CudaWeights.Layer sum = added.to(i, before);
        if (fp8 != null) {
          quantised.add(quantised(quantiser, before, sum, fp8.layer(i)));
        }
        layers.add(before.down() == 0 ? inFp8Alone(device, sum) : sum);
      }
    }
    return new ModelWeights(
        new CudaWeights(full.config(), full.embedding(), List.copyOf(layers), full.output(), full.rope()),
        fp8 == null ? null : new Fp8Weights(quantised));
  }

  private static Fp8Weights.Layer quantised(
      Fp8Quantiser quantiser, CudaWeights.Layer before, CudaWeights.Layer sum, Fp8Weights.Layer known) {
    boolean feedForward = sum.gateUp() != before.gateUp();
    return new Fp8Weights.Layer(
        sum.qkv() == before.qkv() ? known.qkv() : quantiser.qkv(sum.qkv()),
        sum.attentionOutput() == before.attentionOutput() ? known.attentionOutput()
            : quantiser.attentionOutput(sum.attentionOutput()),
        feedForward ? quantiser.gateUp(sum.gateUp()) : known.gateUp(),
        feedForward ? quantiser.down(sum.down()) : known.down());
  }

  /** Bytes on the device; what is shared counts. */
  long bytes() {
    return full.bytes() + (fp8 == null ? 0 : Fp8Weights.bytes(full.config()));
  }
}
