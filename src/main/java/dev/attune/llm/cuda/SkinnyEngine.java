package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Runs few tokens through the layers: last blocks of a ranking and steps of decoding. Latency is what counts, so each
 * combination of numbers of tokens, layers, probed rows and logits is captured as a graph and replayed, but for several
 * last blocks; contexts of any length use the same graph, since kernels read the numbers of items from memory.
 */
final class SkinnyEngine {

  /** How attention goes over the context. */
  enum Tiles {
    /** Of last blocks. */
    WIDE,
    /** Of decoding in 16 bits. */
    DECODING,
    /** Head by head: heads differ, or decoding reads int8. */
    RAGGED
  }

  /** What graphs differ by. */
  private record Shape(
      int tokens, int layers, Tiles tiles, boolean quantised, boolean merging, int raggedParts,
      List<Integer> probedRows, int logitRows) {}

  private static final int SMALLEST_PART = 64;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final SkinnyProducts products;
  /** For last blocks, and with FP8 for decoding, where the model's matrices are large, else null. */
  private final @Nullable ProductChain chain;
  private final boolean fp8;
  /** All layers of a last block in one kernel, where the model's matrices are small, else null. */
  private final @Nullable FusedLayers fused;
  private final AttentionLauncher attention;
  private @Nullable RaggedAttention ragged;
  private final ProbeLauncher probe;
  private final long x;
  private final long residual;
  private final long q;
  private final long mixed;
  private final long inner;
  private long logits;
  private int logitCapacity;
  private @Nullable BatchPlan plan;
  private int planGeneration;
  private final Map<Shape, CudaGraph> graphs = new HashMap<>();

  /**
   * An engine with buffers and graphs of its own.
   *
   * @param fp8 matrices for passes of models whose matrices are large, null for those in 16 bits
   */
  SkinnyEngine(
      CudaDevice device, Kernels kernels, CudaWeights weights, @Nullable Fp8Weights fp8, SkinnyProducts products,
      ProbeLauncher probe) {
    this.device = device;
    this.config = weights.config();
    this.kernels = kernels;
    this.weights = weights;
    this.products = products;
    this.probe = probe;
    attention = new AttentionLauncher(device, config, kernels);
    int rows = SkinnyProducts.MAX_TOKENS;
    fused = FusedLayers.fits(config) ? new FusedLayers(device, kernels, weights) : null;
    int together = fused == null ? rows : FusedLayers.MOST * rows;
    x = device.allocate(2L * together * config.hidden(), "activations of few tokens");
    residual = device.allocate(4L * together * config.hidden(), "activations of few tokens");
    q = device.allocate(2L * rows * config.heads() * config.headSize(), "activations of few tokens");
    mixed = device.allocate(2L * rows * config.heads() * config.headSize(), "activations of few tokens");
    inner = device.allocate(2L * rows * config.feedForward(), "activations of few tokens");
    this.fp8 = fp8 != null && ProductChain.fitsFp8(config);
    chain = ProductChain.fits(config) ? new ProductChain(device, kernels, weights, this.fp8 ? fp8 : null,
        new ProductChain.Buffers(mixed, x, residual, inner, q)) : null;
  }

  /**
   * How attention of a batch goes: all of it as its first sequence, or {@link PassBatches} would not put it together.
   */
  Tiles tiles(List<BatchPlan.Sequence> batch) {
    BatchPlan.Sequence first = batch.getFirst();
    if (!first.ragged() && Kernels.wide(first.tokens().length, config)) {
      return Tiles.WIDE;
    }
    return first.ragged() || first.quantised() ? Tiles.RAGGED : Tiles.DECODING;
  }

  /** Lays out a batch of sequences of the same {@link #tiles}. */
  BatchPlan prepare(List<BatchPlan.Sequence> sequences, int probedSpans) {
    List<BatchPlan.Sequence> batch = sequences;
    if (tiles(sequences) == Tiles.RAGGED) {
      if (ragged().prepare(sequences)) {
        forgetGraphs();
      }
      batch = sequences.stream().map(BatchPlan.Sequence::alone).toList();
    }
    Kernels.Attention tiles = attention(tiles(batch));
    BatchCapacity needed = BatchCapacity.of(config, batch, tiles, SMALLEST_PART);
    int rows = SkinnyProducts.MAX_TOKENS;
    needed = new BatchCapacity(Math.max(needed.rows(), rows), rows, Math.max(needed.items(), 1024),
        Math.max(needed.spans(), probedSpans + 1), Math.max(needed.keys(), 8192));
    BatchPlan current = plan;
    if (current == null || !current.capacity.holds(needed)) {
      if (current != null) {
        device.synchronize("Waiting for the batch before");
        current.free();
      }
      current = new BatchPlan(device, config, kernels, current == null ? needed : current.capacity.grownTo(needed));
      plan = current;
      forgetGraphs();
    }
    if (tiles == kernels.wideAttention) {
      current.layInTurn(batch, tiles, SMALLEST_PART);
    } else {
      current.lay(batch, tiles, SMALLEST_PART);
    }
    if (current.generation != planGeneration) {
      planGeneration = current.generation;
      forgetGraphs();
    }
    return current;
  }

  private RaggedAttention ragged() {
    RaggedAttention made = ragged;
    if (made == null) {
      made = new RaggedAttention(device, config, kernels, SkinnyProducts.MAX_TOKENS);
      ragged = made;
    }
    return made;
  }

  /** Captured graphs hold addresses; they are captured again after one has changed. */
  void forgetGraphs() {
    graphs.values().forEach(CudaGraph::close);
    graphs.clear();
  }

  /**
   * Runs a prepared and uploaded batch. Rows to probe come first among the plan's picks, then rows for logits.
   *
   * @param probedRows of each of the plan's probes
   * @return address of the logits, {@code [logitRows][padded vocabulary]} in fp32
   */
  long run(BatchPlan batch, int layers, Tiles tiles, List<Integer> probedRows, int logitRows) {
    if (logitRows > logitCapacity) {
      device.free(logits);
      logits = device.allocate(4L * logitRows * weights.paddedVocabulary(), "logits of %d tokens".formatted(logitRows));
      logitCapacity = logitRows;
      forgetGraphs();
    }
    Shape shape = new Shape(
        batch.rows(), layers, tiles, batch.quantised(), merges(batch, tiles),
        tiles == Tiles.RAGGED ? ragged().parts() : 0, probedRows, logitRows);
    if (tiles == Tiles.WIDE && batch.sequenceCount() > 1) {
      // Few kernels, and seldom the same shape twice.
      launch(batch, shape);
      return logits;
    }
    CudaGraph graph = graphs.get(shape);
    if (graph == null) {
      // The first run compiles kernels, which a capture must not.
      launch(batch, shape);
      device.synchronize("Running %d tokens through %d layers".formatted(batch.rows(), layers));
      graph = device.capture(() -> launch(batch, shape));
      graphs.put(shape, graph);
      return logits;
    }
    graph.launch();
    return logits;
  }

  /**
   * A step of greedy decoding as a graph: the token with the largest logit becomes the next one without leaving the
   * device.
   *
   * @param batch laid out growing and uploaded
   * @param history {@code [capacity]} ints: the token chosen at each position
   */
  CudaGraph greedyStep(BatchPlan batch, long history, int capacity) {
    if (logitCapacity < 1) {
      logits = device.allocate(4L * weights.paddedVocabulary(), "logits");
      logitCapacity = 1;
    }
    Runnable step = () -> {
      layers(batch, 1, config.layers(), Tiles.DECODING, merges(batch, Tiles.DECODING), 0);
      products.logits(x, 0, 1, logits);
      kernels.argmaxAdvance.launchEarly(1, 1, 1024, logits, config.vocabulary(), batch.tokens, batch.positions,
          batch.places, batch.sequences, history, capacity);
    };
    step.run();
    device.synchronize("Decoding a token");
    return device.capture(step);
  }

  private boolean merges(BatchPlan batch, Tiles tiles) {
    return tiles != Tiles.RAGGED && attention.new Launch(attention(tiles), batch, q, mixed).merges();
  }

  private Kernels.Attention attention(Tiles tiles) {
    return tiles == Tiles.WIDE ? kernels.wideAttention : kernels.decodeAttention;
  }

  /** Puts the kernels of a run into the stream; also for loops that stay on the device. */
  private void launch(BatchPlan batch, Shape shape) {
    layers(batch, shape.tokens, shape.layers, shape.tiles, shape.merging, shape.raggedParts);
    int probed = shape.probedRows.stream().mapToInt(Integer::intValue).sum();
    if (probed > 0) {
      products.qkv(shape.layers, x, batch.picks, probed, q, 0, batch.positions);
    }
    int first = 0;
    for (int i = 0; i < shape.probedRows.size(); i++) {
      int rows = shape.probedRows.get(i);
      probe.run(batch, i, shape.layers, rows, q + 2L * first * config.heads() * config.headSize());
      first += rows;
    }
    if (shape.logitRows > 0) {
      products.logits(x, batch.picks + 4L * probed, shape.logitRows, logits);
    }
  }

  private void layers(BatchPlan batch, int tokens, int layers, Tiles tiles, boolean merging, int raggedParts) {
    // A batch of decoding steps must give what each step gives alone, whatever the number of tokens.
    ProductChain large = tiles == Tiles.WIDE || fp8 ? chain : null;
    kernels.embed.launch(tokens, 1, 128, batch.tokens, weights.embedding(), x, residual, 0L,
        large == null ? 0L : large.squares(), tokens, config.hidden());
    AttentionLauncher.Launch attend = attention.new Launch(attention(tiles), batch, q, mixed);
    // Of decoding steps attention itself puts the parts of short contexts together, and in FP8 those need codes too.
    boolean inChain = merging && large != null && tiles == Tiles.WIDE;
    if (fused != null && tiles == Tiles.WIDE) {
      fused.run(batch, attend, layers, x, residual);
      return;
    }
    if (large != null) {
      large.begin(batch, tokens);
    }
    for (int layer = 0; layer < layers; layer++) {
      if (large == null) {
        products.qkv(layer, x, 0, tokens, q, batch.places, batch.positions);
      }
      if (tiles == Tiles.RAGGED) {
        ragged().run(layer, tokens, raggedParts, q, mixed);
      } else {
        attend.run(layer, Integer.MAX_VALUE / config.kvHeads(), merging && !inChain);
      }
      if (large != null) {
        large.run(batch, tokens, layer, layer + 1 == layers, inChain ? attend.mergeArguments() : null);
        continue;
      }
      products.attentionOutput(layer, mixed, tokens, residual, x);
      products.gateUp(layer, x, tokens, inner);
      products.down(layer, inner, tokens, residual, x);
    }
  }
}
