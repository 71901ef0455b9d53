package dev.attune.llm.cpu;

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
import org.jspecify.annotations.Nullable;

/**
 * Runs a batch of passes of the same depth through the layers: their tokens are rows of the same matrix products, and
 * attention is the only place where passes differ.
 *
 * <p>One layer: {@code x += O attention(norm(x)); x += down(silu(gate(norm(x))) * up(norm(x)))}; an adapter adds its
 * low-rank product to each of the matrix products.
 */
final class ForwardPass {

  /** Loops over fewer rows than this are not worth sharing out. */
  private static final int SERIAL_ROWS = 16;

  /** A pass of the batch: its rows are {@code first} … {@code first + tokens - 1}. */
  private static final class Sequence {
    final Pass pass;
    final int first;
    final int tokens;
    /** Context in the order of content: the order in which sums are taken. */
    final List<CpuKvSegment> context;
    final @Nullable CpuKvSegment kept;

    Sequence(Pass pass, int first, @Nullable CpuKvSegment kept) {
      this.pass = pass;
      this.first = first;
      this.tokens = pass.tokens().length;
      this.context = CpuBackend.inContentOrder(pass.context());
      this.kept = kept;
    }
  }

  /** A panel of query rows of one KV head of one sequence. */
  private record AttentionTask(Sequence sequence, int head, int firstRow) {}

  private final LlamaWeights weights;
  private final ModelConfig config;
  private final LowRank lowRank;
  private final HeadInputs inputs;
  private final WorkerPool pool;
  private final Workspace w;
  private final CpuBackend.Counters counters;
  private final List<Sequence> sequences = new ArrayList<>();
  private final List<AttentionTask> attentionTasks = new ArrayList<>();
  private final int rows;
  private final int layers;
  /** Query heads per KV head. */
  private final int group;

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
    this.layers = passes.getFirst().layers();
    this.group = config.heads() / config.kvHeads();
    int first = 0;
    for (int i = 0; i < passes.size(); i++) {
      Sequence sequence = new Sequence(passes.get(i), first, kept.get(i));
      sequences.add(sequence);
      first += sequence.tokens;
      for (int head = 0; head < config.kvHeads(); head++) {
        for (int row = 0; row < sequence.tokens * group; row += Lanes.PANEL) {
          attentionTasks.add(new AttentionTask(sequence, head, row));
        }
      }
    }
    rows = first;
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
      multiply(rows, w.normed, w.hiddenStride, w.qkv, w.qkvStride, false, l.query(), l.key(), l.value());
      adapt(change.attention(), w.normed, w.hiddenStride, w.qkv, w.qkvStride, 0, w.queryStride,
          w.queryStride + w.keyStride);
      rotateAndKeep(layer);
      attend(layer);
      multiply(rows, w.mixed, w.attentionStride, w.residual, w.hiddenStride, true, l.attentionOutput());
      adapt(change.output(), w.mixed, w.attentionStride, w.residual, w.hiddenStride, 0);
      normalize(l.feedForwardNorm());
      gateAndUp(l, change.inner());
      multiply(rows, w.inner, w.feedForwardStride, w.residual, w.hiddenStride, true, l.down());
      adapt(change.down(), w.inner, w.feedForwardStride, w.residual, w.hiddenStride, 0);
    }
    if (layers > 0) {
      counters.tokens.add(rows);
    }
    List<float[]> attention = layers < config.layers() ? probe(layers) : List.of();
    List<PassResult> results = new ArrayList<>();
    for (int i = 0; i < sequences.size(); i++) {
      Sequence s = sequences.get(i);
      results.add(new PassResult(s.kept, logits(s), attention.isEmpty() ? new float[0] : attention.get(i)));
    }
    return results;
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
    forRows((row, worker) -> Lanes.rmsNorm(w.residual, row * w.hiddenStride, weight, config.normEpsilon(), w.normed,
        row * w.hiddenStride, config.hidden()));
  }

  /** Runs {@code body} for every row of the batch. */
  private void forRows(WorkerPool.Task body) {
    int chunk = Math.max(SERIAL_ROWS, rows / (4 * pool.threads()));
    pool.forEach((rows + chunk - 1) / chunk, (task, worker) -> {
      for (int row = task * chunk; row < Math.min(rows, (task + 1) * chunk); row++) {
        body.run(row, worker);
      }
    });
  }

  /** {@code out (+)= in . matrices}, the outputs of the matrices side by side. */
  private void multiply(
      int count, float[] in, int inStride, float[] out, int outStride, boolean add, PackedMatrix... matrices) {
    int panels = 0;
    for (PackedMatrix matrix : matrices) {
      panels += matrix.panels();
      counters.projection.add(2L * count * matrix.outputs * matrix.inputs);
    }
    int total = panels;
    int blocks = (count + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    pool.forEach(blocks * total, (task, worker) -> {
      int row = task / total * Gemm.ROW_BLOCK;
      int panel = task % total;
      int column = panel * Lanes.PANEL;
      int matrix = 0;
      while (panel >= matrices[matrix].panels()) {
        panel -= matrices[matrix++].panels();
      }
      int n = Math.min(Gemm.ROW_BLOCK, count - row);
      int target = row * outStride + column;
      if (add) {
        float[] product = w.panel[worker];
        Gemm.panel(in, row * inStride, inStride, n, matrices[matrix], panel, product, 0, Lanes.PANEL);
        for (int i = 0; i < n; i++) {
          Lanes.add(out, target + i * outStride, product, i * Lanes.PANEL, Lanes.PANEL);
        }
      } else {
        Gemm.panel(in, row * inStride, inStride, n, matrices[matrix], panel, out, target, outStride);
      }
    });
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
    int panels = l.gate().panels();
    int blocks = (rows + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    pool.forEach(blocks * panels, (task, worker) -> {
      int row = task / panels * Gemm.ROW_BLOCK;
      int panel = task % panels;
      int count = Math.min(Gemm.ROW_BLOCK, rows - row);
      int in = row * w.hiddenStride;
      int out = row * w.feedForwardStride + panel * Lanes.PANEL;
      float[] up = w.panel[worker];
      Gemm.panel(w.normed, in, w.hiddenStride, count, l.gate(), panel, w.inner, out, w.feedForwardStride);
      Gemm.panel(w.normed, in, w.hiddenStride, count, l.up(), panel, up, 0, Lanes.PANEL);
      if (change != null) {
        lowRank.add(change, 0, row, count, panel, w.inner, out, w.feedForwardStride, worker);
        lowRank.add(change, 1, row, count, panel, up, 0, Lanes.PANEL, worker);
      }
      for (int i = 0; i < count; i++) {
        Lanes.swiGlu(w.inner, out + i * w.feedForwardStride, up, i * Lanes.PANEL, Lanes.PANEL);
      }
    });
  }

  private void rotateAndKeep(int layer) {
    LlamaWeights.Layer l = weights.layers().get(layer);
    for (Sequence s : sequences) {
      int chunk = Math.max(SERIAL_ROWS, s.tokens / (4 * pool.threads()));
      pool.forEach((s.tokens + chunk - 1) / chunk, (task, worker) -> {
        for (int i = task * chunk; i < Math.min(s.tokens, (task + 1) * chunk); i++) {
          int at = (s.first + i) * w.qkvStride;
          inputs.queries(l, w.qkv, at, s.pass.firstPosition() + i);
          inputs.keys(l, w.qkv, at + w.queryStride, s.pass.firstPosition() + i);
          inputs.values(l, w.qkv, at + w.queryStride + w.keyStride);
          keepKeys(s, layer, i);
          if (s.kept != null) {
            for (int head = 0; head < config.kvHeads(); head++) {
              int value = at + w.queryStride + w.keyStride + head * config.headSize();
              s.kept.putValues(layer, head, i, w.qkv, value, 1);
            }
          }
        }
      });
    }
  }

  private void keepKeys(Sequence s, int layer, int token) {
    if (s.kept != null) {
      int at = (s.first + token) * w.qkvStride + w.queryStride;
      for (int head = 0; head < config.kvHeads(); head++) {
        s.kept.putKeys(layer, head, token, w.qkv, at + head * config.headSize(), 1);
      }
    }
  }

  private void attend(int layer) {
    long pairs = 0;
    for (Sequence s : sequences) {
      long seen = s.context.stream().mapToLong(CpuKvSegment::tokens).sum();
      pairs += s.tokens * seen + s.tokens * (s.tokens + 1L) / 2;
    }
    counters.attention.add(4L * pairs * config.heads() * config.headSize());
    pool.forEach(attentionTasks.size(), (task, worker) -> attend(layer, attentionTasks.get(task), w.attention[worker]));
  }

  /** Row {@code r} of a KV head is query head {@code r % group} of token {@code r / group}. */
  private void attend(int layer, AttentionTask task, BlockAttention attention) {
    Sequence s = task.sequence;
    int headSize = config.headSize();
    int count = Math.min(Lanes.PANEL, s.tokens * group - task.firstRow);
    int lastToken = (task.firstRow + count - 1) / group;
    Arrays.fill(attention.queries, 0);
    Arrays.fill(attention.last, lastToken);
    for (int lane = 0; lane < count; lane++) {
      int row = task.firstRow + lane;
      attention.last[lane] = row / group;
      loadQuery(attention, lane, w.qkv, (s.first + row / group) * w.qkvStride + queryOffset(task.head, row));
    }
    int keys = s.first * w.qkvStride + w.queryStride + task.head * headSize;
    attention.attend(layer, task.head, s.context, (from, n, k, v) -> {
      for (int i = 0; i < n; i++) {
        int at = keys + (from + i) * w.qkvStride;
        System.arraycopy(w.qkv, at, k, i * headSize, headSize);
        System.arraycopy(w.qkv, at + w.keyStride, v, i * headSize, headSize);
      }
    }, lastToken + 1);
    for (int lane = 0; lane < count; lane++) {
      int row = task.firstRow + lane;
      int at = (s.first + row / group) * w.attentionStride + queryOffset(task.head, row);
      for (int d = 0; d < headSize; d++) {
        w.mixed[at + d] = attention.output[d * Lanes.PANEL + lane];
      }
    }
  }

  private int queryOffset(int kvHead, int row) {
    return (kvHead * group + row % group) * config.headSize();
  }

  private void loadQuery(BlockAttention attention, int lane, float[] from, int at) {
    float scale = (float) (1 / Math.sqrt(config.headSize()));
    for (int d = 0; d < config.headSize(); d++) {
      attention.queries[d * Lanes.PANEL + lane] = from[at + d] * scale;
    }
  }

  /** Keys of the next layer for kept segments, and attention masses; an empty array where there is no probe. */
  private List<float[]> probe(int layer) {
    LlamaWeights.Layer l = weights.layers().get(layer);
    normalize(l.attentionNorm());
    CpuAdapter.Group change = lowRank.layer(layer).attention();
    List<float[]> masses = new ArrayList<>();
    for (Sequence s : sequences) {
      if (s.kept != null) {
        keepNextKeys(s, layer, l, change);
      }
      masses.add(s.pass.probe() == null ? new float[0] : probe(s, s.pass.probe(), layer, l, change));
    }
    return masses;
  }

  private void keepNextKeys(
      Sequence s, int layer, LlamaWeights.Layer l, CpuAdapter.@Nullable Group change) {
    PackedMatrix key = l.key();
    int blocks = (s.tokens + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    counters.projection.add(2L * s.tokens * key.outputs * key.inputs);
    pool.forEach(blocks * key.panels(), (task, worker) -> {
      int row = task / key.panels() * Gemm.ROW_BLOCK;
      int panel = task % key.panels();
      Gemm.panel(w.normed, (s.first + row) * w.hiddenStride, w.hiddenStride,
          Math.min(Gemm.ROW_BLOCK, s.tokens - row), key, panel, w.qkv,
          (s.first + row) * w.qkvStride + w.queryStride + panel * Lanes.PANEL, w.qkvStride);
    });
    if (change != null) {
      lowRank.reduce(change, s.tokens, w.normed, s.first * w.hiddenStride, w.hiddenStride);
      lowRank.add(change, 1, s.tokens, w.qkv, s.first * w.qkvStride + w.queryStride, w.qkvStride);
    }
    for (int i = 0; i < s.tokens; i++) {
      inputs.keys(l, w.qkv, (s.first + i) * w.qkvStride + w.queryStride, s.pass.firstPosition() + i);
      keepKeys(s, layer, i);
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
    multiply(probed.length, in, w.hiddenStride, queries, w.queryStride, false, l.query());
    if (change != null) {
      lowRank.reduce(change, probed.length, in, 0, w.hiddenStride);
      lowRank.add(change, 0, probed.length, queries, 0, w.queryStride);
    }
    for (int i = 0; i < probed.length; i++) {
      inputs.queries(l, queries, i * w.queryStride, s.pass.firstPosition() + probed[i]);
    }
    List<CpuKvSegment> scored =
        Arrays.stream(probe.scored()).mapToObj(i -> (CpuKvSegment) s.pass.context().get(i)).toList();
    long tokens = scored.stream().mapToLong(CpuKvSegment::tokens).sum();
    counters.attention.add(2L * probed.length * tokens * config.heads() * config.headSize());

    AttentionMass mass = new AttentionMass(scored, config.kvHeads(), probed.length * group);
    int panels = (probed.length * group + Lanes.PANEL - 1) / Lanes.PANEL;
    pool.forEach(config.kvHeads() * panels * scored.size(), (task, worker) -> {
      int segment = task % scored.size();
      int head = task / scored.size() / panels;
      int firstRow = task / scored.size() % panels * Lanes.PANEL;
      int count = Math.min(Lanes.PANEL, probed.length * group - firstRow);
      BlockAttention attention = w.attention[worker];
      Arrays.fill(attention.queries, 0);
      for (int lane = 0; lane < count; lane++) {
        int row = firstRow + lane;
        loadQuery(attention, lane, queries, row / group * w.queryStride + queryOffset(head, row));
      }
      attention.measure(layer, head, scored.get(segment));
      mass.put(segment, head, firstRow, attention.maximum, attention.sum, count);
    });
    return mass.perSegment();
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
    float[] out = new float[Math.min(count, SERIAL_ROWS) * stride];
    for (int from = 0; from < count; from += SERIAL_ROWS) {
      int n = Math.min(SERIAL_ROWS, count - from);
      float[] piece = Arrays.copyOfRange(in, from * w.hiddenStride, (from + n) * w.hiddenStride);
      multiply(n, piece, w.hiddenStride, out, stride, false, output);
      for (int i = 0; i < n; i++) {
        logits[from + i] = Arrays.copyOfRange(out, i * stride, i * stride + config.vocabulary());
      }
    }
    return logits;
  }
}
