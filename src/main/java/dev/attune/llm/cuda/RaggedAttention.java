package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.KernelModule.Kernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Attention over contexts whose heads differ in length or have slots that stand for others; see {@code ragged.cu}. Its
 * tables say for each sequence, layer and KV head where the slots of each segment lie.
 */
final class RaggedAttention {

  private static final int THREADS = 256;
  /** Blocks that share the keys of one token and unit where few tokens are to keep the device busy. */
  private static final int CLUSTER = 8;

  /** Most clusters that share a head, and keys of a cluster where fewer do: as in {@code ragged.cu}. */
  private static final int MOST_PARTS = 8;
  private static final int PART = 1024;

  private static final int ROW_BYTES = 16;
  private static final int SEQUENCE_BYTES = 8;
  private static final int SPAN_BYTES = 24;
  private static final int PIECE_BYTES = 32;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernel attention;
  private final Kernel pieces;
  /** Blocks a row, for each part. */
  private final int blocks;
  private final boolean few;
  private final long partials;
  private final long arrived;
  private int rowCapacity;
  private int sequenceCapacity;
  private int spanCapacity;
  private MemorySegment host = MemorySegment.NULL;
  private long start;
  private long table;
  private int layers;
  private int parts = 1;

  /**
   * Loads the kernels.
   *
   * @param fewRows most rows of a batch, each of which is to use more of the device; 0 for any number of rows
   */
  RaggedAttention(CudaDevice device, ModelConfig config, Kernels kernels, int fewRows) {
    this.device = device;
    this.config = config;
    few = fewRows > 0;
    rowCapacity = fewRows;
    sequenceCapacity = fewRows;
    int cluster = few ? CLUSTER : 1;
    int queryHeads = queryHeads(config);
    blocks = config.heads() / queryHeads * cluster;
    KernelModule module = kernels.ragged(queryHeads, cluster);
    attention = module.kernel("ragged_attention");
    pieces = module.kernel("ragged_pieces");
    partials = few ? device.allocate(8L * fewRows * config.heads() * MOST_PARTS * config.headSize(), "parts of attention") : 0;
    arrived = few ? device.allocate(4L * fewRows * blocks, "counters of parts") : 0;
    if (few) {
      device.fill(arrived, 0, 4L * fewRows * blocks);
    }
  }

  /** Query heads of one KV head that share the keys they load: as many as registers hold. */
  static int queryHeads(ModelConfig config) {
    int group = config.heads() / config.kvHeads();
    return IntStream.of(4, 3, 2).filter(n -> group % n == 0).findFirst().orElse(1);
  }

  /**
   * Lays out a batch and puts the making of its tables into the stream.
   *
   * @return whether addresses changed, which captured graphs hold
   */
  boolean prepare(List<BatchPlan.Sequence> batch) {
    int rows = batch.stream().mapToInt(s -> s.tokens().length).sum();
    int spans = batch.stream().mapToInt(s -> s.context().size() + 1).sum();
    boolean grown = reserve(rows, batch.size(), spans);
    layers = batch.getFirst().own().valueLayers();
    int row = 0;
    int span = 0;
    int longest = 0;
    for (int i = 0; i < batch.size(); i++) {
      BatchPlan.Sequence s = batch.get(i);
      int count = s.context().size() + 1;
      put(sequencesAt() + (long) SEQUENCE_BYTES * i, span, count);
      for (int token = 0; token < s.tokens().length; token++) {
        long at = (long) ROW_BYTES * row++;
        put(at, span, count);
        put(at + 8, token, 0);
      }
      int visible = s.tokens().length;
      for (CudaKvSegment segment : s.context()) {
        span(span++, segment.reference(), segment.slots());
        visible += segment.longest();
      }
      longest = Math.max(longest, visible);
      span(span++, s.own().reference(), s.own().tokens());
    }
    // A power of two, since graphs are captured for each number.
    parts = few ? Math.min(MOST_PARTS, Integer.highestOneBit(Math.max(1, 2 * ((longest + PART - 1) / PART) - 1))) : 1;
    device.upload(start, host.asSlice(0, spansAt() + (long) SPAN_BYTES * spans));
    if (layers == 0) {
      return grown;
    }
    pieces.launch((layers * config.kvHeads() + 7) / 8, batch.size(), THREADS, start + sequencesAt(), start + spansAt(),
        table, layers);
    return grown;
  }

  /** Clusters that share the longest head of the batch that was prepared. */
  int parts() {
    return parts;
  }

  /**
   * Attention of one layer over the batch that was prepared, queries and result {@code [row][heads * headSize]}.
   *
   * @param parts not below {@link #parts()}
   */
  void run(int layer, int rows, int parts, long q, long out) {
    float scale = (float) (1 / Math.sqrt(config.headSize()) / Math.log(2));
    try (Arena scratch = Arena.ofConfined()) {
      attention.launchEarly(parts * rows * blocks, 1, THREADS, new Struct(scratch, 64).put(q).put(out).put(table)
          .put(start).put(partials).put(arrived).put(layer).put(layers).put(rows).put(scale).memory());
    }
  }

  private boolean reserve(int rows, int sequences, int spans) {
    if (start != 0 && rows <= rowCapacity && sequences <= sequenceCapacity && spans <= spanCapacity) {
      return false;
    }
    device.synchronize("Waiting for the batch before");
    device.free(start);
    device.free(table);
    if (host.byteSize() > 0) {
      device.freePinned(host);
    }
    rowCapacity = Math.max(rows, rowCapacity);
    sequenceCapacity = Math.max(sequences, sequenceCapacity);
    spanCapacity = Math.max(spans, 2 * spanCapacity);
    long bytes = spansAt() + (long) SPAN_BYTES * spanCapacity;
    host = device.allocatePinned(bytes);
    start = device.allocate(bytes, "a batch of %d rows".formatted(rowCapacity));
    long heads = (long) config.layers() * config.kvHeads();
    table = device.allocate(PIECE_BYTES * heads * spanCapacity, "places of %d segments' heads".formatted(spanCapacity));
    return true;
  }

  private long sequencesAt() {
    return (long) ROW_BYTES * rowCapacity;
  }

  private long spansAt() {
    return sequencesAt() + (long) SEQUENCE_BYTES * sequenceCapacity;
  }

  private void span(int index, long reference, int slots) {
    long at = spansAt() + (long) SPAN_BYTES * index;
    host.set(JAVA_LONG, at, reference);
    put(at + 8, slots, slots);
  }

  private void put(long at, int a, int b) {
    host.set(JAVA_INT, at, a);
    host.set(JAVA_INT, at + 4, b);
  }
}
