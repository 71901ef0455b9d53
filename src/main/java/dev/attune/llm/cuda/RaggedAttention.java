package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.KernelModule.Kernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Attention over contexts whose heads differ in length or have slots that stand for others; see {@code ragged.cu}. Its
 * tables say for each sequence, layer and KV head where the slots of each segment lie.
 */
final class RaggedAttention {

  private static final int THREADS = 256;
  /** Most parts of one row's keys, and keys of the smallest: as in {@code ragged.cu}. */
  private static final int MOST_PARTS = 32;
  private static final int SMALLEST_PART = 256;
  private static final int BLOCKS_A_MULTIPROCESSOR = 2;

  private static final int ROW_BYTES = 8;
  private static final int SEQUENCE_BYTES = 8;
  private static final int SPAN_BYTES = 24;
  private static final int PIECE_BYTES = 32;
  private static final int COUNT_BYTES = 16;

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernel attention;
  private final Kernel pieces;
  /** Rows whose keys may be cut, 0 when none are. */
  private final int cutRows;
  private final long partialOut;
  private final long partialSums;
  private final long arrived;
  private int rowCapacity;
  private int sequenceCapacity;
  private int spanCapacity;
  private MemorySegment host = MemorySegment.NULL;
  private long start;
  private long table;
  private int layers;

  /**
   * Loads the kernels.
   *
   * @param cutRows most rows of a batch where long contexts are cut so that few rows keep the device busy, or 0 to cut none
   */
  RaggedAttention(CudaDevice device, ModelConfig config, Kernels kernels, int cutRows) {
    this.device = device;
    this.config = config;
    this.cutRows = cutRows;
    attention = kernels.raggedAttention();
    pieces = kernels.raggedPieces();
    if (cutRows > 0) {
      long parts = (long) cutRows * config.heads() * MOST_PARTS;
      partialOut = device.allocate(4 * parts * config.headSize(), "parts of attention");
      partialSums = device.allocate(8 * parts, "parts of attention");
      arrived = device.allocate(4L * cutRows * config.heads(), "counters of parts");
      device.fill(arrived, 0, 4L * cutRows * config.heads());
    } else {
      partialOut = 0;
      partialSums = 0;
      arrived = 0;
    }
  }

  /**
   * Lays out a batch and puts the making of its tables into the stream.
   *
   * @return whether addresses changed, which captured graphs hold
   */
  boolean prepare(List<BatchPlan.Sequence> batch) {
    int rows = batch.stream().mapToInt(s -> s.tokens().length).sum();
    int spans = batch.stream().mapToInt(s -> s.context().size() + 1).sum();
    boolean grown = reserve(Math.max(rows, cutRows), Math.max(batch.size(), cutRows), spans);
    layers = batch.getFirst().own().valueLayers();
    int row = 0;
    int span = 0;
    int longest = 0;
    for (int i = 0; i < batch.size(); i++) {
      BatchPlan.Sequence s = batch.get(i);
      put(sequencesAt() + (long) SEQUENCE_BYTES * i, span, s.context().size() + 1);
      int visible = s.tokens().length;
      for (CudaKvSegment segment : s.context()) {
        span(span++, segment.reference(), segment.slots());
        visible += segment.longest();
      }
      span(span++, s.own().reference(), s.own().tokens());
      longest = Math.max(longest, visible);
      for (int token = 0; token < s.tokens().length; token++) {
        put(rowsAt() + (long) ROW_BYTES * row++, i, token);
      }
    }
    host.set(JAVA_INT, 0, Math.clamp((longest + SMALLEST_PART - 1) / SMALLEST_PART, 1, MOST_PARTS));
    device.upload(start, host.asSlice(0, spansAt() + (long) SPAN_BYTES * spans));
    if (layers == 0) {
      return grown;
    }
    pieces.launch((layers * config.kvHeads() + 7) / 8, batch.size(), THREADS, start + sequencesAt(), start + spansAt(),
        table, layers);
    return grown;
  }

  /** Attention of one layer over the batch that was prepared, queries and result {@code [row][heads * headSize]}. */
  void run(int layer, int rows, long q, long out) {
    float scale = (float) (1 / Math.sqrt(config.headSize()) / Math.log(2));
    int blocks = BLOCKS_A_MULTIPROCESSOR * device.multiprocessors;
    try (Arena scratch = Arena.ofConfined()) {
      attention.launchEarly(cutRows > 0 ? blocks : Math.min(blocks, rows * config.heads()), 1, THREADS,
          new Struct(scratch, 88).put(q).put(out).put(table).put(start + sequencesAt()).put(start + rowsAt())
              .put(cutRows > 0 ? start : 0L).put(partialOut).put(partialSums).put(arrived).put(layer).put(layers)
              .put(rows).put(scale).memory());
    }
  }

  private boolean reserve(int rows, int sequences, int spans) {
    if (rows <= rowCapacity && sequences <= sequenceCapacity && spans <= spanCapacity) {
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
    long blocks = (long) config.layers() * config.kvHeads();
    table = device.allocate(PIECE_BYTES * blocks * spanCapacity, "places of %d segments' heads".formatted(spanCapacity));
    return true;
  }

  private long rowsAt() {
    return COUNT_BYTES;
  }

  private long sequencesAt() {
    return rowsAt() + (long) ROW_BYTES * rowCapacity;
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
