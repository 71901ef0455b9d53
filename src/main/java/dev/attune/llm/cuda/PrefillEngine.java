package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GemmProducts.Matrix;
import dev.attune.llm.cuda.Kernels.GemmShape;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Runs many tokens through the layers: their rows share products, attention goes by sequence. A layer is five kernels,
 * since norms, rotations, SwiGLU, residuals and the writing of keys and values are part of the products.
 *
 * <p>With {@link Products#CUBLASLT} the products are cuBLASLt's and the rest are kernels of their own.
 */
final class PrefillEngine {

  /** What computes the products. */
  enum Products {
    FUSED,
    /** As fused, in FP8: products leave codes for the next; a kernel of its own quantises what attention leaves. */
    FP8,
    CUBLASLT
  }

  /** Fewest keys of a part of a split context: documents are not split. */
  static final int SMALLEST_PART = 512;

  private static final int ELEMENTWISE_THREADS = 128;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final SkinnyProducts skinny;
  private final @Nullable CublasLt cublas;
  private final @Nullable Fp8Weights fp8;
  private final AttentionLauncher attention;
  private @Nullable RaggedAttention ragged;
  /** Of the batch that was prepared: whether heads of contexts differ. */
  private boolean raggedBatch;
  private final Map<List<Object>, CublasLt.Product> products = new HashMap<>();
  private final GemmProducts gemm;
  private final int qkvWidth;
  private final int attentionWidth;
  private @Nullable BatchPlan plan;
  private int rowCapacity;
  /** Parts that the sums of squares of x are in. */
  private int lastParts;
  /** Where the largest magnitude of all numbers of 16 bits goes, 0 when it is not wanted. */
  private long largest;
  private long x;
  /** How far from x, the residual rounded to 16 bits, its next eight bits are: a signed byte each. */
  private long low;
  private long q;
  private long mixed;
  private long inner;
  private long squares;
  /** Only for FP8: x and mixed in E4M3, their rows' scales, norms of mixed and inner, and other sums of squares. */
  private long xCodes;
  private long mixedCodes;
  private long xScales;
  private long mixedScales;
  private long mixedNorms;
  private long innerNorms;
  private long otherSquares;
  /** Only for cuBLASLt: normalised input, queries with keys and values, gate with up. */
  private long normed;
  private long qkv;
  private long gateUp;

  PrefillEngine(
      CudaDevice device, Kernels kernels, CudaWeights weights, SkinnyProducts skinny, @Nullable CublasLt cublas,
      @Nullable Fp8Weights fp8) {
    this.device = device;
    this.config = weights.config();
    this.kernels = kernels;
    this.weights = weights;
    this.skinny = skinny;
    this.cublas = cublas;
    this.fp8 = fp8;
    this.attention = new AttentionLauncher(device, config, kernels);
    attentionWidth = config.heads() * config.headSize();
    qkvWidth = attentionWidth + 2 * config.kvHeads() * config.headSize();
    gemm = new GemmProducts(device, config, kernels);
  }

  /** The fused products, to choose their tiles. */
  GemmProducts gemm() {
    return gemm;
  }

  /** Lays out a batch of sequences all or none of which are ragged. */
  BatchPlan prepare(List<BatchPlan.Sequence> batch, Products how) {
    raggedBatch = batch.getFirst().ragged();
    if (raggedBatch) {
      ragged().prepare(batch);
    }
    BatchPlan current = lay(raggedBatch ? batch.stream().map(BatchPlan.Sequence::alone).toList() : batch);
    reserve(current.rows(), how);
    return current;
  }

  private RaggedAttention ragged() {
    RaggedAttention made = ragged;
    if (made == null) {
      made = new RaggedAttention(device, config, kernels, 0);
      ragged = made;
    }
    return made;
  }

  private BatchPlan lay(List<BatchPlan.Sequence> batch) {
    BatchCapacity needed = BatchCapacity.of(config, batch, kernels.documentAttention, SMALLEST_PART);
    BatchPlan current = plan;
    if (current == null || !current.capacity.holds(needed)) {
      if (current != null) {
        current.free();
      }
      current = new BatchPlan(device, config, kernels, current == null ? needed : current.capacity.grownTo(needed));
      plan = current;
    }
    current.lay(batch, kernels.documentAttention, SMALLEST_PART);
    return current;
  }

  private void reserve(int rows, Products how) {
    int needed = (rows + GemmShape.ROWS - 1) / GemmShape.ROWS * GemmShape.ROWS;
    if (needed > rowCapacity) {
      for (long buffer : new long[] {x, low, q, mixed, inner, squares, normed, qkv, gateUp, xCodes, mixedCodes, xScales,
          mixedScales, mixedNorms, innerNorms, otherSquares}) {
        device.free(buffer);
      }
      gemm.forgetInputs();
      rowCapacity = needed;
      String what = "%d rows of activations".formatted(needed);
      x = device.allocate(2L * needed * config.hidden(), what);
      low = device.allocate((long) needed * config.hidden(), what);
      q = device.allocate(2L * needed * attentionWidth, what);
      mixed = device.allocate(2L * needed * attentionWidth, what);
      inner = device.allocate(2L * needed * config.feedForward(), what);
      squares = device.allocate(squareBytes(), what);
      normed = 0;
      xCodes = 0;
    }
    if (how == Products.FP8 && xCodes == 0) {
      String what = "%d rows of activations in FP8".formatted(rowCapacity);
      xCodes = device.allocate((long) rowCapacity * config.hidden(), what);
      mixedCodes = device.allocate((long) rowCapacity * attentionWidth, what);
      xScales = device.allocate(4L * rowCapacity, what);
      mixedScales = device.allocate(4L * rowCapacity, what);
      mixedNorms = device.allocate(8L * rowCapacity, what);
      innerNorms = device.allocate(8L * rowCapacity, what);
      otherSquares = device.allocate(squareBytes(), what);
    }
    if (how == Products.CUBLASLT && normed == 0) {
      String what = "%d rows of activations".formatted(rowCapacity);
      normed = device.allocate(2L * rowCapacity * config.hidden(), what);
      qkv = device.allocate(2L * rowCapacity * qkvWidth, what);
      gateUp = device.allocate(4L * rowCapacity * config.feedForward(), what);
    }
  }

  private long squareBytes() {
    return 4L * rowCapacity * (config.hidden() / 64 + 1);
  }

  /** Runs the layers of a prepared and uploaded batch. */
  void run(BatchPlan batch, int layers, Products how) {
    run(batch, layers, how, layer -> {});
  }

  /** As above; {@code between} runs before each layer and may end the work by an exception. */
  void run(BatchPlan batch, int layers, Products how, IntConsumer between) {
    int rows = batch.rows();
    kernels.embed.launch(rows, 1, ELEMENTWISE_THREADS, batch.tokens, weights.embedding(), x, 0L, low, squares, rows,
        config.hidden());
    IntConsumer attend = attention(batch);
    int parts = 1;
    if (how == Products.FP8) {
      quantise(rows, x, config.hidden(), xCodes, xScales, innerNorms, 0);
    }
    for (int layer = 0; layer < layers; layer++) {
      between.accept(layer);
      CudaWeights.Layer l = weights.layers().get(layer);
      if (how == Products.FUSED) {
        gemm.qkv(input(x, rows, parts), Matrix.unscaled(l.qkv()), 0, qkvWidth, places(batch, batch.places), layer);
        attend.accept(layer);
        GemmProducts.Residual residual = new GemmProducts.Residual(x, low, 0, 0);
        gemm.residual(input(mixed, rows, 0), Matrix.unscaled(l.attentionOutput()), attentionWidth, residual, squares);
        parts = gemm.squareParts();
        gemm.gateUp(input(x, rows, parts), Matrix.unscaled(l.gateUp()), inner);
        gemm.residual(input(inner, rows, 0), Matrix.unscaled(l.down()), config.feedForward(), residual, squares);
      } else if (how == Products.FP8) {
        Fp8Weights.Layer f = Objects.requireNonNull(fp8, "weights in FP8").layer(layer);
        GemmProducts.Residual residual = new GemmProducts.Residual(x, low, xCodes, xScales);
        gemm.qkv(coded(xCodes, rows, squares, parts, xScales, 0), f.qkv(), 0, qkvWidth, places(batch, batch.places),
            layer);
        attend.accept(layer);
        quantise(rows, mixed, attentionWidth, mixedCodes, mixedScales, mixedNorms, innerNorms);
        gemm.residual(coded(mixedCodes, rows, squares, parts, mixedScales, mixedNorms), f.attentionOutput(),
            attentionWidth, residual, otherSquares);
        parts = gemm.squareParts();
        gemm.gateUp(coded(xCodes, rows, otherSquares, parts, xScales, innerNorms), f.gateUp(), inner);
        gemm.residual(coded(inner, rows, otherSquares, parts, 0, innerNorms), f.down(), config.feedForward(), residual,
            squares);
      } else {
        normalize(rows);
        product(l.qkv(), qkvWidth, config.hidden()).run(normed, qkv, rows, false);
        kernels.ropeKeep.launch(rows, 1, ELEMENTWISE_THREADS, qkv, q, batch.places, batch.positions, weights.rope(),
            layer, config.heads(), config.kvHeads(), config.heads() + 2 * config.kvHeads(), config.headSize());
        attend.accept(layer);
        product(l.attentionOutput(), config.hidden(), attentionWidth).run(mixed, x, rows, true);
        normalize(rows);
        product(l.gateUp(), 2 * config.feedForward(), config.hidden()).run(normed, gateUp, rows, false);
        long groups = (long) rows * config.feedForward() / CudaWeights.GROUP;
        kernels.swiglu.launch((int) ((groups + 255) / 256), 1, 256, gateUp, inner, groups, config.feedForward());
        product(l.down(), config.hidden(), config.feedForward()).run(inner, x, rows, true);
      }
      look(x, (long) rows * config.hidden());
      look(q, (long) rows * attentionWidth);
      // In FP8 they are codes, which are scaled.
      look(inner, how == Products.FP8 ? 0 : (long) rows * config.feedForward());
    }
    lastParts = parts;
  }

  /** From now on passes leave the largest magnitude of their numbers in an fp32 one, if it is larger; 0 ends it. */
  void watch(long largest) {
    this.largest = largest;
  }

  /** Looks at numbers of 16 bits, where that is wanted. */
  void look(long numbers, long count) {
    if (largest != 0) {
      kernels.largestMagnitude.launch(device.multiprocessors, 1, 256, numbers, count, largest);
    }
  }

  private IntConsumer attention(BatchPlan batch) {
    if (raggedBatch) {
      return layer -> ragged().run(layer, batch.rows(), 1, q, mixed);
    }
    AttentionLauncher.Launch launch = attention.new Launch(kernels.documentAttention, batch, q, mixed);
    boolean merging = batch.mergeCount() > 0;
    return layer -> launch.run(layer, batch.itemCount(), merging);
  }

  /** Keys of the next layer, for the sequences that keep them. */
  void nextKeys(BatchPlan batch, int layer, Products how) {
    int width = config.kvHeads() * config.headSize();
    if (how != Products.CUBLASLT) {
      gemm.qkv(input(x, batch.rows(), lastParts), Matrix.unscaled(weights.keys(layer)), attentionWidth, width,
          places(batch, batch.nextPlaces), layer);
    } else {
      normalize(batch.rows());
      product(weights.keys(layer), width, config.hidden()).run(normed, qkv, batch.rows(), false);
      kernels.ropeKeep.launch(batch.rows(), 1, ELEMENTWISE_THREADS, qkv, q, batch.nextPlaces, batch.positions,
          weights.rope(), layer, 0, config.kvHeads(), config.kvHeads(), config.headSize());
    }
  }

  /** Queries of a layer for picked rows, {@code [picks][heads * headSize]}. */
  void queries(BatchPlan batch, int layer, long pick, int count, long out) {
    skinny.qkv(layer, x, pick, count, out, 0, batch.positions);
  }

  /** Logits of picked rows, {@code [picks][padded vocabulary]} in fp32. */
  void logits(long pick, int count, long out) {
    skinny.logits(x, pick, count, out);
  }

  private GemmProducts.Input input(long address, int rows, int parts) {
    return new GemmProducts.Input(address, rows, rowCapacity, squares, parts);
  }

  private GemmProducts.Input coded(long codes, int rows, long squares, int parts, long scales, long norms) {
    return new GemmProducts.Input(codes, rows, rowCapacity, squares, parts, scales, norms);
  }

  /** Quantises rows and clears the norms of others. */
  private void quantise(int rows, long from, int columns, long codes, long scales, long norms, long cleared) {
    kernels.quantiseRows.launchEarly(rows, 1, 256, from, 0L, codes, scales, norms, cleared, columns);
  }

  private GemmProducts.Places places(BatchPlan batch, long places) {
    return new GemmProducts.Places(q, places, batch.positions, weights.rope());
  }

  private void normalize(int rows) {
    kernels.rmsNorm.launch(rows, 1, ELEMENTWISE_THREADS, x, normed, config.hidden(), (float) config.normEpsilon());
  }

  private CublasLt.Product product(long matrix, int outputs, int inputs) {
    CublasLt library = Objects.requireNonNull(cublas, "cuBLASLt");
    return products.computeIfAbsent(List.of(matrix), key -> library.new Product(matrix, outputs, inputs));
  }
}
