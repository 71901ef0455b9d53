package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.Projection;
import java.util.Arrays;
import java.util.Objects;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;

/** Adds an adapter to matrices of their own, in 16 bits, rounded; what it does not change is shared. */
final class AddedAdapter {

  private final CudaDevice device;
  private final Kernels kernels;
  private final LoraAdapter adapter;
  private final @Nullable WeightReader reader;
  private final int hidden;
  private final int attention;
  private final int keys;
  private final int inner;

  /**
   * For the layers of a model.
   *
   * @param reader of the matrices that are not on the device in 16 bits, or null where there are none
   */
  AddedAdapter(
      CudaDevice device, Kernels kernels, ModelConfig config, LoraAdapter adapter, @Nullable WeightReader reader) {
    this.device = device;
    this.kernels = kernels;
    this.adapter = adapter;
    this.reader = reader;
    hidden = config.hidden();
    attention = config.heads() * config.headSize();
    keys = config.kvHeads() * config.headSize();
    inner = config.feedForward();
  }

  /**
   * A layer with the adapter. Gate and up, and down, are new ones when one of them is, since they are quantised
   * together.
   */
  CudaWeights.Layer to(int index, CudaWeights.Layer layer) {
    boolean feedForward = changes(index, Projection.GATE, Projection.UP, Projection.DOWN);
    return new CudaWeights.Layer(
        changes(index, Projection.QUERY, Projection.KEY, Projection.VALUE) ? qkv(index, layer) : layer.qkv(),
        changes(index, Projection.ATTENTION_OUTPUT) ? attentionOutput(index, layer) : layer.attentionOutput(),
        feedForward ? gateUp(index, layer) : layer.gateUp(), feedForward ? down(index, layer) : layer.down(),
        layer.attentionNorm(), layer.feedForwardNorm());
  }

  private boolean changes(int layer, Projection... projections) {
    return layer < adapter.layers()
        && Arrays.stream(projections).anyMatch(projection -> adapter.factors(layer, projection) != null);
  }

  private long qkv(int index, CudaWeights.Layer layer) {
    long matrix = copy(layer.qkv(), (attention + 2L * keys) * hidden);
    long norm = layer.attentionNorm();
    add(index, Projection.QUERY, matrix, norm, CudaWeights.GROUP);
    add(index, Projection.KEY, matrix + 2L * attention * hidden, norm, CudaWeights.GROUP);
    add(index, Projection.VALUE, matrix + 2L * (attention + keys) * hidden, norm, CudaWeights.GROUP);
    return matrix;
  }

  private long attentionOutput(int index, CudaWeights.Layer layer) {
    long matrix = own(layer.attentionOutput(), (long) hidden * attention, from -> from.attentionOutput(index));
    add(index, Projection.ATTENTION_OUTPUT, matrix, 0, CudaWeights.GROUP);
    return matrix;
  }

  private long gateUp(int index, CudaWeights.Layer layer) {
    long matrix = own(layer.gateUp(), 2L * inner * hidden, from -> from.gateUp(index));
    // Their rows alternate in groups.
    long up = matrix + 2L * CudaWeights.GROUP * hidden;
    add(index, Projection.GATE, matrix, layer.feedForwardNorm(), 2 * CudaWeights.GROUP);
    add(index, Projection.UP, up, layer.feedForwardNorm(), 2 * CudaWeights.GROUP);
    return matrix;
  }

  private long down(int index, CudaWeights.Layer layer) {
    long matrix = own(layer.down(), (long) hidden * inner, from -> from.down(index));
    add(index, Projection.DOWN, matrix, 0, CudaWeights.GROUP);
    return matrix;
  }

  private long own(long held, long numbers, ToLongFunction<WeightReader> again) {
    return held == 0 ? again.applyAsLong(Objects.requireNonNull(reader, "the file of weights")) : copy(held, numbers);
  }

  private long copy(long held, long numbers) {
    long address = device.allocate(2 * numbers, "%d adapted weights".formatted(numbers));
    device.copy(address, held, 2 * numbers);
    return address;
  }

  /** What is added to the residual has no norm before it and is kept times {@link Numbers#residualScale}. */
  private void add(int layer, Projection projection, long matrix, long norm, int groupRows) {
    LoraAdapter.Factors f = adapter.factors(layer, projection);
    if (f == null) {
      return;
    }
    float scale = norm == 0 ? kernels.numbers.residualScale : 1;
    float[] scaled = f.b().clone();
    for (int i = 0; i < scaled.length; i++) {
      scaled[i] *= scale;
    }
    long a = device.uploadNew(f.a(), "an adapter");
    long b = device.uploadNew(scaled, "an adapter");
    kernels.addLowRank.launch(f.outputs(), 1, 128, matrix, a, b, norm, f.inputs(), f.rank(), groupRows);
    device.synchronize("Adding an adapter to %s of layer %d".formatted(projection, layer));
    device.free(a);
    device.free(b);
  }
}
