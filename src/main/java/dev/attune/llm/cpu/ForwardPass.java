package dev.attune.llm.cpu;

import dev.attune.llm.AttentionVisitor;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.ModelConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
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

  /** Query rows of one KV head of one sequence, at most those of {@link BlockAttention#PANELS} panels. */
  private record AttentionTask(Sequence sequence, int head, int firstRow, int rows) {

    /** Products of panel and slot, and so about how long it takes. */
    long cost() {
      long slots = sequence.context.stream().mapToLong(CpuKvSegment::meanSlots).sum() + sequence.tokens;
      return slots * ((rows + Lanes.PANEL - 1) / Lanes.PANEL);
    }
  }

  private final LlamaWeights weights;
  private final ModelConfig config;
  private final LowRank lowRank;
  private final HeadInputs inputs;
  private final WorkerPool pool;
  private final Workspace w;
  private final CpuBackend.Counters counters;
  private final List<Sequence> sequences = new ArrayList<>();
  private final List<AttentionTask> attentionTasks = new ArrayList<>();
  private IntConsumer inspection = layer -> {};
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
        addAttentionTasks(sequence, head);
      }
    }
    rows = first;
    // Long ones first, so that the threads end together.
    attentionTasks.sort(Comparator.comparingLong(AttentionTask::cost).reversed());
  }

  /** Tasks of many panels, and of one panel at the end: small ones fill what is left of the threads' time. */
  private void addAttentionTasks(Sequence sequence, int head) {
    int all = sequence.tokens * group;
    int most = BlockAttention.PANELS * Lanes.PANEL;
    for (int row = 0; row < all; ) {
      int count = all - row <= most ? Math.min(all - row, Lanes.PANEL) : most;
      attentionTasks.add(new AttentionTask(sequence, head, row, count));
      row += count;
    }
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
      multiply(rows, w.normed, 0, w.hiddenStride, w.qkv, 0, w.qkvStride, false, l.query(), l.key(), l.value());
      adapt(change.attention(), w.normed, w.hiddenStride, w.qkv, w.qkvStride, 0, w.queryStride,
          w.queryStride + w.keyStride);
      rotateAndKeep(layer);
      inspection.accept(layer);
      attend(layer);
      multiply(rows, w.mixed, 0, w.attentionStride, w.residual, 0, w.hiddenStride, true, l.attentionOutput());
      adapt(change.output(), w.mixed, w.attentionStride, w.residual, w.hiddenStride, 0);
      normalize(l.feedForwardNorm());
      gateAndUp(l, change.inner());
      multiply(rows, w.inner, 0, w.feedForwardStride, w.residual, 0, w.hiddenStride, true, l.down());
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
    forRows(rows, (row, worker) -> Lanes.rmsNorm(w.residual, row * w.hiddenStride, weight, config.normEpsilon(), w.normed,
        row * w.hiddenStride, config.hidden()));
  }

  /** Runs {@code body} for so many rows. */
  private void forRows(int count, WorkerPool.Task body) {
    int chunk = Math.max(SERIAL_ROWS, count / (4 * pool.threads()));
    pool.forEach((count + chunk - 1) / chunk, (task, worker) -> {
      for (int row = task * chunk; row < Math.min(count, (task + 1) * chunk); row++) {
        body.run(row, worker);
      }
    });
  }

  /** {@code out (+)= in . matrices}, the outputs of the matrices side by side. */
  private void multiply(
      int count, float[] in, int inOffset, int inStride, float[] out, int outOffset, int outStride, boolean add,
      PackedMatrix... matrices) {
    int panels = 0;
    for (PackedMatrix matrix : matrices) {
      panels += matrix.panels();
      counters.projection.add(2L * count * matrix.outputs * matrix.inputs);
    }
    sumGroups(count, in, inOffset, inStride, matrices);
    int total = panels;
    int blocks = (count + Gemm.ROW_BLOCK - 1) / Gemm.ROW_BLOCK;
    pool.forEach(blocks * total, (task, worker) -> {
      int row = task / total * Gemm.ROW_BLOCK;
      int panel = task % total;
      int target = outOffset + row * outStride + panel * Gemm.PANEL;
      int matrix = 0;
      while (panel >= matrices[matrix].panels()) {
        panel -= matrices[matrix++].panels();
      }
      int n = Math.min(Gemm.ROW_BLOCK, count - row);
      if (!add) {
        clear(out, target, outStride, n);
      }
      Gemm.panel(in, inOffset + row * inStride, inStride, n, matrices[matrix], panel, out, target, outStride,
          w.scratch[worker]);
    });
  }

  /** What products with minima need beside their inputs. */
  private void sumGroups(int count, float[] in, int offset, int stride, PackedMatrix... matrices) {
    if (Arrays.stream(matrices).anyMatch(matrix -> matrix.hasMinima)) {
      forRows(count, (row, worker) -> Gemm.sumGroups(in, offset + row * stride, matrices[0].inputs));
    }
  }

  private static void clear(float[] out, int offset, int stride, int rows) {
    for (int row = 0; row < rows; row++) {
      Arrays.fill(out, offset + row * stride, offset + row * stride + Gemm.PANEL, 0);
    }
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
    sumGroups(rows, w.normed, 0, w.hiddenStride, l.gate(), l.up());
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
      clear(w.inner, out, w.feedForwardStride, count);
      clear(up, 0, Gemm.PANEL, count);
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
      int chunk = Math.max(SERIAL_ROWS, s.tokens / (4 * pool.threads()));
      pool.forEach((s.tokens + chunk - 1) / chunk, (task, worker) -> {
        for (int i = task * chunk; i < Math.min(s.tokens, (task + 1) * chunk); i++) {
          int at = (s.first + i) * w.qkvStride;
          inputs.queries(l, w.qkv, at, s.pass.firstPosition() + i);
          inputs.keys(l, w.qkv, at + w.queryStride, s.pass.firstPosition() + i);
          inputs.values(l, w.qkv, at + w.queryStride + w.keyStride);
        }
      });
    }
    keep(layer, true);
  }

  /** Stores keys, and values if wanted, of sequences that keep them; a whole head at once, since int8 scales need it. */
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

  private void attend(int layer) {
    long pairs = 0;
    long bytes = 0;
    for (Sequence s : sequences) {
      // Per query head; heads of a group see the same slots.
      long seen = 0;
      for (CpuKvSegment segment : s.context) {
        seen += segment.slots(layer);
        bytes += segment.bytesOf(layer);
      }
      pairs += group * s.tokens * seen + config.heads() * s.tokens * (s.tokens + 1L) / 2;
    }
    counters.attention.add(4L * pairs * config.headSize());
    counters.cacheBytes.add(bytes);
    pool.forEach(attentionTasks.size(), (task, worker) -> attend(layer, attentionTasks.get(task), w.attention[worker]));
  }

  /** Row {@code r} of a KV head is query head {@code r % group} of token {@code r / group}. */
  private void attend(int layer, AttentionTask task, BlockAttention attention) {
    Sequence s = task.sequence;
    int headSize = config.headSize();
    int panels = (task.rows + Lanes.PANEL - 1) / Lanes.PANEL;
    for (int lane = 0; lane < task.rows; lane++) {
      QueryPanel panel = attention.panels[lane / Lanes.PANEL];
      if (lane % Lanes.PANEL == 0) {
        panel.begin(Math.min(Lanes.PANEL, task.rows - lane));
      }
      int row = task.firstRow + lane;
      int token = row / group;
      panel.load(lane % Lanes.PANEL, w.qkv, (s.first + token) * w.qkvStride + queryOffset(task.head, row), token);
    }
    attention.attend(layer, task.head, s.context, tail(s, task.head), panels);
    for (int lane = 0; lane < task.rows; lane++) {
      float[] output = attention.panels[lane / Lanes.PANEL].output;
      int row = task.firstRow + lane;
      int at = (s.first + row / group) * w.attentionStride + queryOffset(task.head, row);
      for (int d = 0; d < headSize; d++) {
        w.mixed[at + d] = output[d * Lanes.PANEL + lane % Lanes.PANEL];
      }
    }
  }

  private BlockAttention.Tail tail(Sequence s, int head) {
    int keys = s.first * w.qkvStride + w.queryStride + head * config.headSize();
    return new BlockAttention.Tail() {
      @Override
      public void keys(int from, int count, float[] rows) {
        copy(keys, from, count, rows);
      }

      @Override
      public void values(int from, int count, float[] rows) {
        copy(keys + w.keyStride, from, count, rows);
      }

      private void copy(int start, int from, int count, float[] rows) {
        for (int i = 0; i < count; i++) {
          System.arraycopy(w.qkv, start + (from + i) * w.qkvStride, rows, i * config.headSize(), config.headSize());
        }
      }
    };
  }

  private int queryOffset(int kvHead, int row) {
    return (kvHead * group + row % group) * config.headSize();
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
    keep(layer, false);
    return masses;
  }

  private void keepNextKeys(
      Sequence s, int layer, LlamaWeights.Layer l, CpuAdapter.@Nullable Group change) {
    multiply(s.tokens, w.normed, s.first * w.hiddenStride, w.hiddenStride, w.qkv,
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
    multiply(probed.length, in, 0, w.hiddenStride, queries, 0, w.queryStride, false, l.query());
    if (change != null) {
      lowRank.reduce(change, probed.length, in, 0, w.hiddenStride);
      lowRank.add(change, 0, probed.length, queries, 0, w.queryStride);
    }
    for (int i = 0; i < probed.length; i++) {
      inputs.queries(l, queries, i * w.queryStride, s.pass.firstPosition() + probed[i]);
    }
    List<CpuKvSegment> scored =
        Arrays.stream(probe.scored()).mapToObj(i -> (CpuKvSegment) s.pass.context().get(i)).toList();
    long slots = scored.stream().mapToLong(segment -> segment.slots(layer)).sum();
    counters.attention.add(2L * probed.length * group * slots * config.headSize());
    counters.cacheBytes.add(scored.stream().mapToLong(segment -> segment.keyBytesOf(layer)).sum());

    AttentionMass mass = new AttentionMass(scored, config.kvHeads(), probed.length * group);
    int panels = (probed.length * group + Lanes.PANEL - 1) / Lanes.PANEL;
    pool.forEach(config.kvHeads() * panels * scored.size(), (task, worker) -> {
      int segment = task % scored.size();
      int head = task / scored.size() / panels;
      int firstRow = task / scored.size() % panels * Lanes.PANEL;
      int count = Math.min(Lanes.PANEL, probed.length * group - firstRow);
      QueryPanel panel = w.attention[worker].panels[0];
      panel.begin(count);
      for (int lane = 0; lane < count; lane++) {
        int row = firstRow + lane;
        panel.load(lane, queries, row / group * w.queryStride + queryOffset(head, row), 0);
      }
      w.attention[worker].measure(layer, head, scored.get(segment));
      mass.put(segment, head, firstRow, panel.maximum, panel.sum, count);
    });
    return probe.byHead() ? mass.perHead(group) : mass.perSegment();
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
      multiply(n, piece, 0, w.hiddenStride, out, 0, stride, false, output);
      for (int i = 0; i < n; i++) {
        logits[from + i] = Arrays.copyOfRange(out, i * stride, i * stride + config.vocabulary());
      }
    }
    return logits;
  }
}
