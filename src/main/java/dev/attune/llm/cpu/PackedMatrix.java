package dev.attune.llm.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A weight matrix {@code [outputs, inputs]} as f32 in the layout that {@link Gemm} reads: panels of {@link Lanes#PANEL}
 * outputs, in each panel the inputs in order, for each input the panel's outputs side by side. Missing outputs of the
 * last panel are zero.
 */
public final class PackedMatrix {

  /** Gives a row of weights. */
  @FunctionalInterface
  public interface Rows {
    /** Writes the weights of output {@code row} to the start of {@code target}. */
    void read(int row, float[] target);
  }

  private static final int ALIGNMENT = 64;

  final int outputs;
  final int inputs;
  final MemorySegment data;

  private PackedMatrix(int outputs, int inputs, MemorySegment data) {
    this.outputs = outputs;
    this.inputs = inputs;
    this.data = data;
  }

  static PackedMatrix pack(Arena arena, WorkerPool pool, int outputs, int inputs, Rows rows) {
    int panels = Lanes.padded(outputs) / Lanes.PANEL;
    long panelBytes = panelBytes(inputs);
    MemorySegment data = arena.allocate(panels * panelBytes, ALIGNMENT);
    pool.forEach(panels, (panel, worker) -> {
      float[] row = new float[inputs];
      float[] packed = new float[inputs * Lanes.PANEL];
      int first = panel * Lanes.PANEL;
      for (int j = 0; j < Math.min(Lanes.PANEL, outputs - first); j++) {
        rows.read(first + j, row);
        for (int i = 0; i < inputs; i++) {
          packed[i * Lanes.PANEL + j] = row[i];
        }
      }
      MemorySegment.copy(packed, 0, data, JAVA_FLOAT, panel * panelBytes, packed.length);
    });
    return new PackedMatrix(outputs, inputs, data);
  }

  private static long panelBytes(int inputs) {
    return (long) inputs * Lanes.PANEL * Float.BYTES;
  }

  int panels() {
    return Lanes.padded(outputs) / Lanes.PANEL;
  }

  /** Outputs rounded up to whole panels: what a product writes per row. */
  int paddedOutputs() {
    return Lanes.padded(outputs);
  }

  long panelOffset(int panel) {
    return panel * panelBytes(inputs);
  }

  /** Copies the weights of one output; an embedding table is looked up this way. */
  void row(int row, float[] target, int offset) {
    long at = panelOffset(row / Lanes.PANEL) + (long) (row % Lanes.PANEL) * Float.BYTES;
    for (int i = 0; i < inputs; i++) {
      target[offset + i] = data.get(JAVA_FLOAT, at + (long) i * Lanes.PANEL * Float.BYTES);
    }
  }

  long bytes() {
    return data.byteSize();
  }
}
