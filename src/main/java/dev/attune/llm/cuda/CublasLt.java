package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Matrix products of matrices of 16-bit numbers with fp32 sums by cuBLASLt. The algorithm is chosen once per matrix,
 * for many rows and without splitting sums, and then used for any number of rows: a row's result does not depend on the
 * others.
 */
final class CublasLt implements AutoCloseable {

  private static final int R_16BF = 14;
  private static final int R_16F = 2;
  private static final int R_32F = 0;
  private static final int COMPUTE_32F = 68;
  private static final int TRANSPOSE_A = 3;
  private static final int OP_T = 1;
  private static final int PREFERENCE_WORKSPACE = 1;
  private static final int PREFERENCE_REDUCTION_SCHEMES = 3;
  private static final int HEURISTIC_BYTES = 96;
  private static final int TYPICAL_ROWS = 16384;
  private static final long WORKSPACE = 64 << 20;

  final String place;
  private final CudaDevice device;
  private final int type;
  private final Arena arena = Arena.ofShared();
  private final long handle;
  private final long workspace;
  private final long description;
  private final MethodHandle layoutCreate;
  private final MethodHandle layoutDestroy;
  private final MethodHandle heuristic;
  private final MethodHandle matmul;
  private final MethodHandle destroy;
  private final long preference;
  private final MemorySegment one = arena.allocate(JAVA_FLOAT);
  private final MemorySegment zero = arena.allocate(JAVA_FLOAT);

  CublasLt(CudaDevice device, Numbers numbers) {
    this.device = device;
    type = numbers == Numbers.FP16 ? R_16F : R_16BF;
    NativeLibraries.Library library = NativeLibraries.load("libcublasLt.so.13", "libcublasLt.so.12");
    place = library.place();
    layoutCreate = library.function("cublasLtMatrixLayoutCreate", "pilll");
    layoutDestroy = library.function("cublasLtMatrixLayoutDestroy", "l");
    heuristic = library.function("cublasLtMatmulAlgoGetHeuristic", "lllllllipp");
    matmul = library.function("cublasLtMatmul", "llpllllpllllplll");
    destroy = library.function("cublasLtDestroy", "l");
    MemorySegment out = arena.allocate(8);
    one.set(JAVA_FLOAT, 0, 1);
    try {
      check((int) library.function("cublasLtCreate", "p").invokeExact(out), "Starting cuBLASLt");
      handle = out.get(JAVA_LONG, 0);
      check((int) library.function("cublasLtMatmulDescCreate", "pii").invokeExact(out, COMPUTE_32F, R_32F),
          "Describing a product");
      description = out.get(JAVA_LONG, 0);
      MemorySegment number = arena.allocate(8);
      number.set(JAVA_INT, 0, OP_T);
      check((int) library.function("cublasLtMatmulDescSetAttribute", "lipl")
          .invokeExact(description, TRANSPOSE_A, number, 4L), "Describing a product");
      check((int) library.function("cublasLtMatmulPreferenceCreate", "p").invokeExact(out), "Preferring algorithms");
      preference = out.get(JAVA_LONG, 0);
      MethodHandle prefer = library.function("cublasLtMatmulPreferenceSetAttribute", "lipl");
      number.set(JAVA_LONG, 0, WORKSPACE);
      check((int) prefer.invokeExact(preference, PREFERENCE_WORKSPACE, number, 8L), "Preferring algorithms");
      number.set(JAVA_INT, 0, 0);
      check((int) prefer.invokeExact(preference, PREFERENCE_REDUCTION_SCHEMES, number, 4L), "Preferring algorithms");
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
    workspace = device.allocate(WORKSPACE, "the workspace of cuBLASLt");
  }

  /** A matrix of weights, {@code [outputs][inputs]}, with its algorithm. */
  final class Product {
    private final long weights;
    private final int outputs;
    private final int inputs;
    private final MemorySegment algorithm = arena.allocate(HEURISTIC_BYTES, 8);
    private final long weightLayout;

    Product(long weights, int outputs, int inputs) {
      this.weights = weights;
      this.outputs = outputs;
      this.inputs = inputs;
      weightLayout = layout(inputs, outputs);
      long x = layout(inputs, TYPICAL_ROWS);
      long out = layout(outputs, TYPICAL_ROWS);
      MemorySegment found = arena.allocate(JAVA_INT);
      try {
        int code = (int) heuristic.invokeExact(
            handle, description, weightLayout, x, out, out, preference, 1, algorithm, found);
        check(code, "Choosing an algorithm for [%d, %d]".formatted(outputs, inputs));
        if (found.get(JAVA_INT, 0) < 1) {
          throw new CudaException("cuBLASLt has no algorithm for a product with [%d, %d]".formatted(outputs, inputs));
        }
        check((int) layoutDestroy.invokeExact(x), "Releasing a layout");
        check((int) layoutDestroy.invokeExact(out), "Releasing a layout");
      } catch (RuntimeException | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new IllegalStateException(e);
      }
    }

    /** {@code out [rows][outputs] = x [rows][inputs] . weights^T}, added to what is there when {@code add} is set. */
    void run(long x, long out, int rows, boolean add) {
      // Column-major: the transposed product of transposed matrices.
      long xLayout = layout(inputs, rows);
      long outLayout = layout(outputs, rows);
      MemorySegment beta = add ? one : zero;
      try {
        check((int) matmul.invokeExact(handle, description, one, weights, weightLayout, x, xLayout, beta, out,
                outLayout, out, outLayout, algorithm, workspace, WORKSPACE, device.stream),
            "Product of [%d, %d] with [%d, %d]".formatted(rows, inputs, outputs, inputs));
        check((int) layoutDestroy.invokeExact(xLayout), "Releasing a layout");
        check((int) layoutDestroy.invokeExact(outLayout), "Releasing a layout");
      } catch (RuntimeException | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new IllegalStateException(e);
      }
    }
  }

  private long layout(long rows, long columns) {
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment out = scratch.allocate(8);
      check((int) layoutCreate.invokeExact(out, type, rows, columns, rows), "Describing a matrix");
      return out.get(JAVA_LONG, 0);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  private static void check(int code, String operation) {
    if (code != 0) {
      throw new CudaException("%s failed: cuBLASLt status %d".formatted(operation, code));
    }
  }

  @Override
  public void close() {
    try {
      check((int) destroy.invokeExact(handle), "Ending cuBLASLt");
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }
}
