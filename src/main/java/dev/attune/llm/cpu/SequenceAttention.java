package dev.attune.llm.cpu;

import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.ModelConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** Attention of the sequences of a batch, cut into tasks for the threads; reads and writes the workspace. */
final class SequenceAttention {

  /** Query rows of one KV head of one sequence, at most those of {@link BlockAttention#PANELS} panels. */
  private record Task(Sequence sequence, int head, int firstRow, int rows) {

    /** Products of panel and slot, and so about how long it takes. */
    long cost() {
      long slots = sequence.context.stream().mapToLong(CpuKvSegment::meanSlots).sum() + sequence.tokens;
      return slots * ((rows + Lanes.PANEL - 1) / Lanes.PANEL);
    }
  }

  private final ModelConfig config;
  private final WorkerPool pool;
  private final Workspace w;
  private final CpuBackend.Counters counters;
  private final List<Sequence> sequences;
  private final List<Task> tasks = new ArrayList<>();
  /** Query heads per KV head. */
  private final int group;

  SequenceAttention(
      ModelConfig config, WorkerPool pool, Workspace workspace, CpuBackend.Counters counters,
      List<Sequence> sequences) {
    this.config = config;
    this.pool = pool;
    this.w = workspace;
    this.counters = counters;
    this.sequences = sequences;
    this.group = config.heads() / config.kvHeads();
    for (Sequence sequence : sequences) {
      for (int head = 0; head < config.kvHeads(); head++) {
        addTasks(sequence, head);
      }
    }
    // Long ones first, so that the threads end together.
    tasks.sort(Comparator.comparingLong(Task::cost).reversed());
  }

  /** Tasks of many panels, and of one panel at the end: small ones fill what is left of the threads' time. */
  private void addTasks(Sequence sequence, int head) {
    int all = sequence.tokens * group;
    int most = BlockAttention.PANELS * Lanes.PANEL;
    for (int row = 0; row < all; ) {
      int count = all - row <= most ? Math.min(all - row, Lanes.PANEL) : most;
      tasks.add(new Task(sequence, head, row, count));
      row += count;
    }
  }

  /** Mixes the values of a layer for every row of the batch. */
  void attend(int layer) {
    long pairs = 0;
    long bytes = 0;
    for (Sequence s : sequences) {
      // Per query head; heads of a group see the same slots.
      long seen = 0;
      for (CpuKvSegment segment : s.context) {
        seen += segment.slots(layer);
        bytes += segment.bytesOf(layer);
      }
      pairs += (long) group * s.tokens * seen + (long) config.heads() * s.tokens * (s.tokens + 1) / 2;
    }
    counters.attention.add(4L * pairs * config.headSize());
    counters.cacheBytes.add(bytes);
    pool.forEach(tasks.size(), (task, worker) -> attend(layer, tasks.get(task), w.attention[worker]));
  }

  /** Row {@code r} of a KV head is query head {@code r % group} of token {@code r / group}. */
  private void attend(int layer, Task task, BlockAttention attention) {
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

  /**
   * Attention masses of probed rows on the segments that the probe scores.
   *
   * @param queries rotated, {@code [rows][queryStride]}
   */
  float[] measure(int layer, Sequence s, Probe probe, float[] queries) {
    int rows = probe.rows().length * group;
    List<CpuKvSegment> scored =
        Arrays.stream(probe.scored()).mapToObj(i -> (CpuKvSegment) s.pass.context().get(i)).toList();
    long slots = scored.stream().mapToLong(segment -> segment.slots(layer)).sum();
    counters.attention.add(2L * rows * slots * config.headSize());
    counters.cacheBytes.add(scored.stream().mapToLong(segment -> segment.keyBytesOf(layer)).sum());

    AttentionMass mass = new AttentionMass(scored, config.kvHeads(), rows);
    float[][][][] logits = probe.bySlot() ? logits(layer, scored, rows) : null;
    int panels = (rows + Lanes.PANEL - 1) / Lanes.PANEL;
    pool.forEach(config.kvHeads() * panels * scored.size(), (task, worker) -> {
      int segment = task % scored.size();
      int head = task / scored.size() / panels;
      int firstRow = task / scored.size() % panels * Lanes.PANEL;
      int count = Math.min(Lanes.PANEL, rows - firstRow);
      QueryPanel panel = w.attention[worker].panels[0];
      panel.begin(count);
      for (int lane = 0; lane < count; lane++) {
        int row = firstRow + lane;
        panel.load(lane, queries, row / group * w.queryStride + queryOffset(head, row), 0);
      }
      w.attention[worker].measure(layer, head, scored.get(segment), logits == null ? null : (slot, from, at) -> {
        for (int lane = 0; lane < count; lane++) {
          logits[head][segment][firstRow + lane][slot] = from[at + lane];
        }
      });
      mass.put(segment, head, firstRow, panel.maximum, panel.sum, count);
    });
    if (logits == null) {
      return mass.perSegment();
    }
    int all = scored.stream().mapToInt(segment -> segment.slots(layer, 0)).sum();
    float[] masses = new float[config.heads() * all];
    pool.forEach(config.heads(), (head, worker) ->
        mass.perSlot(head / group, head % group, group, logits[head / group], masses, head * all));
    return masses;
  }

  /** Room for logits, {@code [KV head][segment][row][slot]}. */
  private float[][][][] logits(int layer, List<CpuKvSegment> scored, int rows) {
    float[][][][] logits = new float[config.kvHeads()][scored.size()][rows][];
    for (int head = 0; head < config.kvHeads(); head++) {
      for (int i = 0; i < scored.size(); i++) {
        int slots = scored.get(i).slots(layer, head);
        if (slots != scored.get(i).slots(layer, 0)) {
          throw new IllegalArgumentException("A probe tells slots apart only where all heads have as many");
        }
        for (int row = 0; row < rows; row++) {
          logits[head][i][row] = new float[slots];
        }
      }
    }
    return logits;
  }
}
