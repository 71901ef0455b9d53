package dev.attune.llm.cpu;

import dev.attune.llm.AttentionVisitor;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.ModelConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Runs a batch of passes of the same depth through the layers: their tokens are rows of the same matrix products, and
 * attention is the only place where passes differ.
 *
 * <p>One layer: {@code x += O attention(norm(x)); x += down(silu(gate(norm(x))) * up(norm(x)))}; an adapter adds its
 * low-rank product to each of the matrix products.
 */
final class ForwardPass {

  /** Rows whose logits are computed at once. */
  private static final int LOGIT_ROWS = 16;

  private final LlamaWeights weights;
  private final ModelConfig config;
  private final LowRank lowRank;
  private final HeadInputs inputs;
  private final WorkerPool pool;
  private final Products products;
  private final SequenceAttention attention;
  private final Workspace w;
  private final CpuBackend.Counters counters;
  private final List<Sequence> sequences = new ArrayList<>();
  private IntConsumer inspection = layer -> {};
  private final int rows;
  private final int layers;

  ForwardPass(
      LlamaWeights weights, LowRank lowRank, Rope rope, WorkerPool pool, Workspace workspace,
      CpuBackend.Counters counters, List<Pass> passes, List<@Nullable CpuKvSegment> kept) {
    this.weights = weights;
    this.lowRank = lowRank;
    this.config = weights.config();
    this.inputs = new HeadInputs(config, rope);
    this.pool = pool;
    this.w = workspace;
    this.counters = counters;
    this.products = new Products(pool, workspace.scratch, counters);
    this.layers = passes.getFirst().layers();
    int first = 0;
    for (int i = 0; i < passes.size(); i++) {
      Sequence sequence = new Sequence(passes.get(i), first, kept.get(i));
      sequences.add(sequence);
      first += sequence.tokens;
    }
    rows = first;
    attention = new SequenceAttention(config, pool, workspace, counters, sequences);
  }

  List<PassResult> run() {
    w.reserve(rows);
    embed();
    for (int layer = 0; layer < layers; layer++) {
      if (Thread.interrupted()) {
        throw new CancellationException("Forward pass cancelled at layer " + layer);
      }
      LlamaWeights.Layer l = weights.layers().get(layer);
      normalize(l.attentionNorm());
      CpuAdapter.Layer change = lowRank.layer(layer);
      products.multiply(rows, w.normed, 0, w.hiddenStride, w.qkv, 0, w.qkvStride, false, l.query(), l.key(), l.value());
      adapt(change.attention(), w.normed, w.hiddenStride, w.qkv, w.qkvStride, 0, w.queryStride,
          w.queryStride + w.keyStride);
      rotateAndKeep(layer);
      inspection.accept(layer);
      attention.attend(layer);
      products.multiply(rows, w.mixed, 0, w.attentionStride, w.residual, 0, w.hiddenStride, true, l.attentionOutput());
      adapt(change.output(), w.mixed, w.attentionStride, w.residual, w.hiddenStride, 0);
      normalize(l.feedForwardNorm());
      gateAndUp(l, change.inner());
      products.multiply(rows, w.inner, 0, w.feedForwardStride, w.residual, 0, w.hiddenStride, true, l.down());
      adapt(change.down(), w.inner, w.feedForwardStride, w.residual, w.hiddenStride, 0);
    }
    if (layers > 0) {
      counters.tokens.add(rows);
    }
    List<float[]> masses = layers < config.layers() ? probe(layers) : List.of();
    List<PassResult> results = new ArrayList<>();
    for (int i = 0; i < sequences.size(); i++) {
      Sequence s = sequences.get(i);
      results.add(new PassResult(s.kept, logits(s), masses.isEmpty() ? new float[0] : masses.get(i)));
    }
    return results;
  }

  /** Runs the only sequence and shows the attention of some of its rows. */
  List<PassResult> inspect(int[] inspected, AttentionVisitor visitor) {
    AttentionRows attentionRows = new AttentionRows(config, inspected, visitor);
    inspection = layer -> attentionRows.show(layer, w);
    return run();
  }

  private void embed() {
    for (Sequence s : sequences) {
      for (int i = 0; i < s.tokens; i++) {
        int at = (s.first + i) * w.hiddenStride;
        weights.embedding().row(s.pass.tokens()[i], w.residual, at);
        Arrays.fill(w.residual, at + config.hidden(), at + w.hiddenStride, 0);
      }
    }
  }

  private void normalize(float[] weight) {
    products.forRows(rows, (row, worker) -> Lanes.rmsNorm(w.residual, row * w.hiddenStride, weight,
        config.normEpsilon(), w.normed, row * w.hiddenStride, config.hidden()));
  }

  /** Adds the change of products with the same input, the output of each at its column. */
  private void adapt(
      CpuAdapter.@Nullable Group change, float[] in, int inStride, float[] out, int outStride, int... columns) {
    if (change != null) {
      lowRank.reduce(change, rows, in, 0, inStride);
      for (int projection = 0; projection < columns.length; projection++) {
        lowRank.add(change, projection, rows, out, columns[projection], outStride);
      }
    }
  }

  private void gateAndUp(LlamaWeights.Layer l, CpuAdapter.@Nullable Group change) {
    if (change != null) {
      lowRank.reduce(change, rows, w.normed, 0, w.hiddenStride);
    }
    counters.projection.add(4L * rows * config.feedForward() * config.hidden());
    products.sumGroups(rows, w.normed, 0, w.hiddenStride, l.gate(), l.up());
    int panels = l.gate().panels();
    int blocks = (rows + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    pool.forEach(blocks * panels, (task, worker) -> {
      int row = task / panels * Gemm.ROW_BLOCK;
      int panel = task % panels;
      int count = Math.min(Gemm.ROW_BLOCK, rows - row);
      int in = row * w.hiddenStride;
      int out = row * w.feedForwardStride + panel * Gemm.PANEL;
      Gemm.Scratch scratch = w.scratch[worker];
      float[] up = scratch.product;
      Products.clear(w.inner, out, w.feedForwardStride, count);
      Products.clear(up, 0, Gemm.PANEL, count);
      Gemm.panel(w.normed, in, w.hiddenStride, count, l.gate(), panel, w.inner, out, w.feedForwardStride, scratch);
      Gemm.panel(w.normed, in, w.hiddenStride, count, l.up(), panel, up, 0, Gemm.PANEL, scratch);
      if (change != null) {
        lowRank.add(change, 0, row, count, panel, w.inner, out, w.feedForwardStride, worker);
        lowRank.add(change, 1, row, count, panel, up, 0, Gemm.PANEL, worker);
      }
      for (int i = 0; i < count; i++) {
        Lanes.swiGlu(w.inner, out + i * w.feedForwardStride, up, i * Gemm.PANEL, Gemm.PANEL);
      }
    });
  }

  private void rotateAndKeep(int layer) {
    LlamaWeights.Layer l = weights.layers().get(layer);
    for (Sequence s : sequences) {
      products.forRows(s.tokens, (row, worker) -> {
        int at = (s.first + row) * w.qkvStride;
        inputs.queries(l, w.qkv, at, s.pass.firstPosition() + row);
        inputs.keys(l, w.qkv, at + w.queryStride, s.pass.firstPosition() + row);
        inputs.values(l, w.qkv, at + w.queryStride + w.keyStride);
      });
    }
    keep(layer, true);
  }

  /**
   * Stores keys, and values if wanted, of sequences that keep them; a whole head at once, since int8 scales need it.
   */
  private void keep(int layer, boolean withValues) {
    List<Sequence> keeping = sequences.stream().filter(s -> s.kept != null).toList();
    pool.forEach(keeping.size() * config.kvHeads(), (task, worker) -> {
      Sequence s = keeping.get(task / config.kvHeads());
      int head = task % config.kvHeads();
      CpuKvSegment kept = Objects.requireNonNull(s.kept);
      int keys = s.first * w.qkvStride + w.queryStride + head * config.headSize();
      kept.writeKeys(layer, head, w.qkv, keys, w.qkvStride);
      if (withValues) {
        kept.writeValues(layer, head, w.qkv, keys + w.keyStride, w.qkvStride);
      }
    });
  }

  /** Keys of the next layer for kept segments, and attention masses; an empty array where there is no probe. */
  private List<float[]> probe(int layer) {
    LlamaWeights.Layer l = weights.layers().get(layer);
    normalize(l.attentionNorm());
    CpuAdapter.Group change = lowRank.layer(layer).attention();
    List<float[]> masses = new ArrayList<>();
    for (Sequence s : sequences) {
      if (s.kept != null) {
        keepNextKeys(s, l, change);
      }
      masses.add(s.pass.probe() == null ? new float[0] : probe(s, s.pass.probe(), layer, l, change));
    }
    keep(layer, false);
    return masses;
  }

  private void keepNextKeys(Sequence s, LlamaWeights.Layer l, CpuAdapter.@Nullable Group change) {
    products.multiply(s.tokens, w.normed, s.first * w.hiddenStride, w.hiddenStride, w.qkv,
        s.first * w.qkvStride + w.queryStride, w.qkvStride, false, l.key());
    if (change != null) {
      lowRank.reduce(change, s.tokens, w.normed, s.first * w.hiddenStride, w.hiddenStride);
      lowRank.add(change, 1, s.tokens, w.qkv, s.first * w.qkvStride + w.queryStride, w.qkvStride);
    }
    for (int i = 0; i < s.tokens; i++) {
      inputs.keys(l, w.qkv, (s.first + i) * w.qkvStride + w.queryStride, s.pass.firstPosition() + i);
    }
  }

  private float[] probe(
      Sequence s, Probe probe, int layer, LlamaWeights.Layer l, CpuAdapter.@Nullable Group change) {
    int[] probed = probe.rows();
    float[] in = new float[probed.length * w.hiddenStride];
    float[] queries = new float[probed.length * w.queryStride];
    for (int i = 0; i < probed.length; i++) {
      System.arraycopy(w.normed, (s.first + probed[i]) * w.hiddenStride, in, i * w.hiddenStride, config.hidden());
    }
    products.multiply(probed.length, in, 0, w.hiddenStride, queries, 0, w.queryStride, false, l.query());
    if (change != null) {
      lowRank.reduce(change, probed.length, in, 0, w.hiddenStride);
      lowRank.add(change, 0, probed.length, queries, 0, w.queryStride);
    }
    for (int i = 0; i < probed.length; i++) {
      inputs.queries(l, queries, i * w.queryStride, s.pass.firstPosition() + probed[i]);
    }
    return attention.measure(layer, s, probe, queries);
  }

  private float[][] logits(Sequence s) {
    if (s.pass.logits() == Logits.NONE) {
      return new float[0][];
    }
    int first = s.pass.logits() == Logits.LAST ? s.tokens - 1 : 0;
    int count = s.tokens - first;
    PackedMatrix output = weights.output();
    float[] in = new float[count * w.hiddenStride];
    for (int i = 0; i < count; i++) {
      Lanes.rmsNorm(w.residual, (s.first + first + i) * w.hiddenStride, Objects.requireNonNull(weights.outputNorm()),
          config.normEpsilon(), in, i * w.hiddenStride, config.hidden());
    }
    float[][] logits = new float[count][];
    // In pieces, so that the logits of a long text are not held twice.
    int stride = output.paddedOutputs();
    float[] out = new float[Math.min(count, LOGIT_ROWS) * stride];
    for (int from = 0; from < count; from += LOGIT_ROWS) {
      int n = Math.min(LOGIT_ROWS, count - from);
      float[] piece = Arrays.copyOfRange(in, from * w.hiddenStride, (from + n) * w.hiddenStride);
      products.multiply(n, piece, 0, w.hiddenStride, out, 0, stride, false, output);
      for (int i = 0; i < n; i++) {
        logits[from + i] = Arrays.copyOfRange(out, i * stride, i * stride + config.vocabulary());
      }
    }
    return logits;
  }
}
