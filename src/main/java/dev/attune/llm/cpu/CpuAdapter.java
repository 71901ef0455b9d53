package dev.attune.llm.cpu;

import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.lora.LoraAdapter.Factors;
import dev.attune.llm.lora.Projection;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** An adapter packed for {@link Gemm}: f32, beside base weights of any type. */
final class CpuAdapter {

  /**
   * The changes of projections that read the same input: one product with all their A, then one with each B.
   *
   * @param a {@code [sum of ranks, inputs]}
   * @param b {@code [outputs, rank]} per projection, null where it is not changed
   * @param offsets of each projection's part in a row of the product with {@code a}
   */
  record Group(PackedMatrix a, List<@Nullable PackedMatrix> b, int[] offsets) {}

  /**
   * One layer; null where nothing changes.
   *
   * @param attention query, key, value
   * @param output of attention
   * @param inner gate, up
   */
  record Layer(@Nullable Group attention, @Nullable Group output, @Nullable Group inner, @Nullable Group down) {}

  final List<Layer> layers = new ArrayList<>();
  private final LoraAdapter adapter;
  private final Arena arena;
  private final WorkerPool pool;

  CpuAdapter(LoraAdapter adapter, Arena arena, WorkerPool pool) {
    this.adapter = adapter;
    this.arena = arena;
    this.pool = pool;
    for (int i = 0; i < adapter.layers(); i++) {
      layers.add(new Layer(group(i, Projection.QUERY, Projection.KEY, Projection.VALUE),
          group(i, Projection.ATTENTION_OUTPUT), group(i, Projection.GATE, Projection.UP), group(i, Projection.DOWN)));
    }
  }

  private @Nullable Group group(int layer, Projection... projections) {
    List<@Nullable PackedMatrix> b = new ArrayList<>();
    List<float[]> rows = new ArrayList<>();
    int[] offsets = new int[projections.length];
    for (int p = 0; p < projections.length; p++) {
      Factors factors = adapter.factors(layer, projections[p]);
      offsets[p] = rows.size();
      b.add(factors == null ? null : PackedMatrix.pack(arena, pool, factors.outputs(), factors.rank(), (row, target) ->
          System.arraycopy(factors.b(), row * factors.rank(), target, 0, factors.rank())));
      for (int r = 0; factors != null && r < factors.rank(); r++) {
        rows.add(Arrays.copyOfRange(factors.a(), r * factors.inputs(), (r + 1) * factors.inputs()));
      }
    }
    if (rows.isEmpty()) {
      return null;
    }
    int inputs = rows.getFirst().length;
    PackedMatrix a = PackedMatrix.pack(arena, pool, rows.size(), inputs,
        (row, target) -> System.arraycopy(rows.get(row), 0, target, 0, inputs));
    return new Group(a, b, offsets);
  }

  long bytes() {
    long bytes = 0;
    for (Layer layer : layers) {
      for (Group group : Arrays.asList(layer.attention, layer.output, layer.inner, layer.down)) {
        bytes += group == null ? 0 : group.a.bytes()
            + group.b.stream().filter(Objects::nonNull).mapToLong(PackedMatrix::bytes).sum();
      }
    }
    return bytes;
  }
}
