package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.Kernels.Epilogue;
import dev.attune.llm.cuda.Kernels.GemmShape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Products of a matrix with many rows, the next step of the layer fused; see {@code gemm.cu}. */
final class GemmProducts {

  /**
   * Where queries, keys and values of rows go, on the device.
   *
   * @param q {@code [rows][heads * headSize]}
   * @param places a {@code Row} for each row
   * @param positions of RoPE
   * @param rope table of rotations
   */
  record Places(long q, long places, long positions, long rope) {
    static final Places NONE = new Places(0, 0, 0, 0);
  }

  /**
   * Rows of activations.
   *
   * @param capacity rows that may be read
   * @param squares sums of squares of the rows, before they were quantised, in {@code parts} parts,
   *     {@code [parts][capacity]}; for {@link #residual}, of the residual's rows, in FP8 only
   * @param scales of the rows when they are E4M3, 0 when they are not or the scales are 1
   * @param norms sums of squares of the rows' codes, for {@link #residual} in FP8
   */
  record Input(long address, int rows, int capacity, long squares, int parts, long scales, long norms) {

    Input(long address, int rows, int capacity, long squares, int parts) {
      this(address, rows, capacity, squares, parts, 0, 0);
    }
  }

  /**
   * A matrix {@code [outputs][inputs]}.
   *
   * @param scales of the rows when they are E4M3, 0 when they are not
   * @param largestNorm of the rows, on the device, for {@link #residual} in FP8
   */
  record Matrix(long address, long scales, long largestNorm) {

    Matrix(long address, long scales) {
      this(address, scales, 0);
    }

    static Matrix unscaled(long address) {
      return new Matrix(address, 0);
    }
  }

  /**
   * The residual, {@code [capacity][hidden]}.
   *
   * @param high in 16 bits
   * @param low the next eight bits, a signed byte each
   * @param codes it in E4M3, 0 when not wanted
   * @param scales of the rows of {@code codes}
   */
  record Residual(long high, long low, long codes, long scales) {}

  /** Kinds of tensor maps. */
  private static final long ACTIVATIONS = 0;
  private static final long WEIGHTS = 1;
  private static final Residual NO_RESIDUAL = new Residual(0, 0, 0, 0);

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  /** Outputs of a tile. */
  private final Map<Epilogue, Integer> widths = new EnumMap<>(Epilogue.class);
  private final Map<List<Long>, MemorySegment> maps = new HashMap<>();

  GemmProducts(CudaDevice device, ModelConfig config, Kernels kernels) {
    this.device = device;
    this.config = config;
    this.kernels = kernels;
    for (Epilogue epilogue : List.of(Epilogue.QKV, Epilogue.RESIDUAL, Epilogue.SWIGLU)) {
      widths.put(epilogue, config.hidden() <= 2048 && config.headSize() == 64 ? 192 : 256);
    }
  }

  /** Chooses how many outputs the tiles of products with an epilogue have: 192 or, where heads are 128 wide, 256. */
  void width(Epilogue epilogue, int outputs) {
    widths.put(epilogue, outputs);
  }

  /** Parts that a residual product leaves the sums of squares of its result in. */
  int squareParts() {
    int width = widths.get(Epilogue.RESIDUAL);
    return (config.hidden() + width - 1) / width;
  }

  /**
   * Rotated queries, and rotated keys and values into their segments, of normalised rows.
   *
   * @param matrix rows {@code firstOutput} to {@code firstOutput + outputs - 1} of queries, keys and values
   */
  void qkv(Input in, Matrix matrix, int firstOutput, int outputs, Places places, int layer) {
    launch(Epilogue.QKV, in, matrix, outputs, config.hidden(), places, layer, firstOutput, 0, NO_RESIDUAL, 0);
  }

  /**
   * {@code residual += in . matrix^T}.
   *
   * @param squares where to leave the sums of squares of the result, in {@link #squareParts} parts; not
   *     {@code in.squares} in FP8
   */
  void residual(Input in, Matrix matrix, int inputs, Residual residual, long squares) {
    launch(Epilogue.RESIDUAL, in, matrix, config.hidden(), inputs, Places.NONE, 0, 0, 0, residual, squares);
  }

  /**
   * {@code out = silu(gate) * up} of normalised rows, in 16 bits, or in E4M3 when the matrix is; then the sums of
   * squares of its rows are added to {@code in.norms}.
   */
  void gateUp(Input in, Matrix matrix, long out) {
    launch(Epilogue.SWIGLU, in, matrix, 2 * config.feedForward(), config.hidden(), Places.NONE, 0, 0, out, NO_RESIDUAL,
        0);
  }

  /** Forgets descriptors of inputs, whose memory is given back. */
  void forgetInputs() {
    maps.keySet().removeIf(key -> key.getFirst() != WEIGHTS);
  }

  private void launch(
      Epilogue epilogue, Input in, Matrix matrix, int outputs, int inputs, Places places, int layer, int firstOutput,
      long out, Residual residual, long squaresOut) {
    boolean fp8 = matrix.scales != 0;
    GemmShape shape = GemmShape.of(widths.get(epilogue), inputs, fp8);
    int size = fp8 ? 1 : 2;
    int tile = shape.outputs();
    List<MemorySegment> tiles = new ArrayList<>(List.of(
        map(ACTIVATIONS, in.address, in.capacity, inputs, GemmShape.ROWS, size, TensorMap.ROW_BYTES),
        map(WEIGHTS, matrix.address, outputs, inputs, tile, size, TensorMap.ROW_BYTES)));
    if (epilogue == Epilogue.RESIDUAL) {
      tiles.add(map(ACTIVATIONS, residual.high, in.capacity, outputs, GemmShape.ROWS, 2, TensorMap.ROW_BYTES));
      tiles.add(map(ACTIVATIONS, residual.low, in.capacity, outputs, GemmShape.ROWS, 1, shape.partOfResidual()));
    }
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment arguments = new Struct(scratch, 152).put(in.rows).put(outputs).put(inputs)
          .put((float) config.normEpsilon()).put(in.squares).put(in.parts).put(in.capacity).put(places.q)
          .put(places.places).put(places.positions).put(places.rope).put(layer).put(config.heads())
          .put(config.kvHeads()).put(config.headSize()).put(firstOutput).put(out).put(squaresOut)
          .put(in.scales).put(matrix.scales).put(in.norms).put(matrix.largestNorm).put(residual.codes)
          .put(residual.scales).memory();
      int count = (in.rows + GemmShape.ROWS - 1) / GemmShape.ROWS * ((outputs + tile - 1) / tile);
      List<Object> all = new ArrayList<>(tiles);
      all.add(arguments);
      kernels.gemm(epilogue, shape, fp8).launchEarly(
          Math.min(count, device.multiprocessors), 1, GemmShape.THREADS, all.toArray());
    }
  }

  private MemorySegment map(long kind, long address, int rows, int columns, int tileRows, int size, int rowBytes) {
    return maps.computeIfAbsent(
        List.of(kind, address, (long) rows, (long) columns, (long) tileRows, (long) size, (long) rowBytes),
        key -> TensorMap.of(device, Arena.ofAuto(), address, rows, columns, tileRows, size, rowBytes));
  }
}
