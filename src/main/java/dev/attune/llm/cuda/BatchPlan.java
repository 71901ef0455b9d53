package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What the kernels need to know of a batch, laid out in one block of pinned memory and copied to the device at once:
 * tokens and positions, where each row's keys and values go, the sequences, and the attention items and merges.
 * Capacities are fixed, so that device addresses stay the same for captured graphs.
 *
 * <p>Structures are those of {@code common.cuh}. How a sequence is cut into items depends on that sequence alone.
 */
final class BatchPlan {

  private static final int ROW_BYTES = 16;
  private static final int SEQUENCE_BYTES = 16;
  private static final int ITEM_BYTES = 24;
  private static final int MERGE_BYTES = 16;
  private static final int REQUEST_BYTES = 16;
  private static final int SPAN_BYTES = 24;

  /** One sequence of a batch; {@code context} in the order in which it is summed. */
  record Sequence(
      int[] tokens, int firstPosition, List<CudaKvSegment> context, CudaKvSegment own, boolean keepsNextKeys) {

    /** The same without its context, for where {@link RaggedAttention} reads that. */
    Sequence alone() {
      return new Sequence(tokens, firstPosition, List.of(), own, keepsNextKeys);
    }

    /** Whether heads of the context differ. */
    boolean ragged() {
      return context.stream().anyMatch(CudaKvSegment::ragged);
    }

    /** Whether some of the context is int8. */
    boolean quantised() {
      return context.stream().anyMatch(segment -> segment.shape.codec() == KvCodec.INT8);
    }

    /** Keys that every token sees. */
    int contextTokens() {
      return context.stream().mapToInt(CudaKvSegment::slots).sum();
    }
  }

  /**
   * Where the device finds what a probe scores.
   *
   * @param spans address of the segments
   * @param count address of their number
   */
  record Probed(long spans, long count) {}

  private record Item(int sequence, int rowTile, int from, int to, int partial, int merge) {}

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  final BatchCapacity capacity;
  private final MemorySegment host;
  final long tokens;
  final long positions;
  final long places;
  /** Places for the keys of the layer after the last; only of sequences that keep them. */
  final long nextPlaces;
  final long picks;
  final long sequences;
  final long items;
  final long merges;
  /** Counts: items, merges, probed spans of each sequence. */
  final long counts;
  /** What a kernel of several last blocks needs of each sequence: {@code Request} of {@code layers.cu}. */
  final long requests;
  private final long probeSpans;
  private final long spans;
  private final long start;
  private final long bytes;
  final long table;
  /** Counters of finished parts, {@code [merge][KV head]}, zero between runs. */
  final long arrived;
  private long partialBytes;
  long partialOut;
  long partialSums;
  /** Changes when an address changes. */
  int generation;

  private int rows;
  private int sequenceCount;
  private int longest;
  private int probedSpans;
  private final List<Probed> probes = new ArrayList<>();
  private int spanCount;
  private int keyCount;
  private int itemCount;
  private int mergeCount;
  private int partials;
  private int longestMerge;
  private boolean quantised;

  BatchPlan(CudaDevice device, ModelConfig config, Kernels kernels, BatchCapacity capacity) {
    this.device = device;
    this.config = config;
    this.kernels = kernels;
    this.capacity = capacity;
    long at = 0;
    long[] offsets = new long[12];
    long[] sizes = {4L * capacity.rows(), 4L * capacity.rows(), (long) ROW_BYTES * capacity.rows(),
        (long) ROW_BYTES * capacity.rows(), 4L * capacity.rows(), (long) SEQUENCE_BYTES * capacity.sequences(),
        (long) ITEM_BYTES * capacity.items(), (long) MERGE_BYTES * capacity.items(), 8 + 4L * capacity.sequences(),
        (long) REQUEST_BYTES * capacity.sequences(), (long) SPAN_BYTES * capacity.spans(),
        (long) SPAN_BYTES * capacity.spans()};
    for (int i = 0; i < sizes.length; i++) {
      offsets[i] = at;
      at += sizes[i] + 255 & ~255L;
    }
    bytes = at;
    host = device.allocatePinned(bytes);
    start = device.allocate(bytes, "a batch of %d rows".formatted(capacity.rows()));
    tokens = start + offsets[0];
    positions = start + offsets[1];
    places = start + offsets[2];
    nextPlaces = start + offsets[3];
    picks = start + offsets[4];
    sequences = start + offsets[5];
    items = start + offsets[6];
    merges = start + offsets[7];
    counts = start + offsets[8];
    requests = start + offsets[9];
    probeSpans = start + offsets[10];
    spans = start + offsets[11];
    long arrivedBytes = 4L * capacity.items() * config.kvHeads();
    arrived = device.allocate(arrivedBytes, "counters of parts");
    device.fill(arrived, 0, arrivedBytes);
    table = device.allocate(ROW_BYTES * capacity.keys(), "a key table of %d rows".formatted(capacity.keys()));
  }

  /** Gives its memory back. */
  void free() {
    device.free(start);
    device.free(table);
    device.free(arrived);
    device.free(partialOut);
    device.free(partialSums);
    device.freePinned(host);
  }

  /** Lays out a batch; {@link #upload} brings it to the device. */
  void lay(List<Sequence> batch, Kernels.Attention attention, int smallestPart) {
    // Longest first, so that no long one starts when the others are done.
    lay(batch, attention, smallestPart, Comparator.comparingInt(item -> item.from - item.to));
  }

  /** The same, with the items of a sequence before those of the next. */
  void layInTurn(List<Sequence> batch, Kernels.Attention attention, int smallestPart) {
    lay(batch, attention, smallestPart,
        Comparator.comparingInt(Item::sequence).thenComparing(item -> item.from - item.to));
  }

  private void lay(List<Sequence> batch, Kernels.Attention attention, int smallestPart, Comparator<Item> order) {
    rows = 0;
    sequenceCount = 0;
    spanCount = 0;
    keyCount = 0;
    partials = 0;
    mergeCount = 0;
    longestMerge = 0;
    longest = 0;
    probedSpans = 0;
    probes.clear();
    quantised = false;
    List<Item> all = new ArrayList<>();
    for (Sequence s : batch) {
      int row = rows;
      int merge = mergeCount;
      addSequence(s);
      cut(s, sequenceCount - 1, attention, smallestPart, all);
      put(requests - start + (long) REQUEST_BYTES * (sequenceCount - 1), row, rows, all.size(),
          mergeCount > merge ? merge : -1);
      longest = Math.max(longest, s.tokens.length);
    }
    all.sort(order);
    itemCount = all.size();
    for (int i = 0; i < itemCount; i++) {
      Item item = all.get(i);
      long at = items - start + (long) i * ITEM_BYTES;
      put(at, item.sequence, item.rowTile, item.from, item.to);
      host.set(JAVA_INT, at + 16, item.partial);
      host.set(JAVA_INT, at + 20, item.merge);
    }
    putCounts();
    reservePartials(attention);
  }

  private void reservePartials(Kernels.Attention attention) {
    long needed = (long) partials * config.kvHeads() * attention.tileRows();
    if (needed * config.headSize() * 4 > partialBytes) {
      device.free(partialOut);
      device.free(partialSums);
      partialBytes = needed * config.headSize() * 4 * 5 / 4;
      partialOut = device.allocate(partialBytes, "%d parts of attention".formatted(partials));
      partialSums =
          device.allocate(partialBytes / config.headSize() * 2 + 64, "%d parts of attention".formatted(partials));
      generation++;
    }
  }

  private void addSequence(Sequence s) {
    int contextTokens = s.contextTokens();
    put(sequences - start + (long) sequenceCount++ * SEQUENCE_BYTES, rows, s.tokens.length, contextTokens, keyCount);
    for (CudaKvSegment segment : s.context) {
      span(spans, spanCount++, segment.reference(), segment.slots(), segment.slots(), keyCount);
      keyCount += segment.slots();
      quantised |= segment.shape.codec() == KvCodec.INT8;
    }
    span(spans, spanCount++, s.own.address(), s.own.tokens(), s.tokens.length, keyCount);
    keyCount += s.tokens.length;
    for (int i = 0; i < s.tokens.length; i++, rows++) {
      host.set(JAVA_INT, tokens - start + 4L * rows, s.tokens[i]);
      host.set(JAVA_INT, positions - start + 4L * rows, s.firstPosition + i);
      place(places, rows, s.own, i);
      place(nextPlaces, rows, s.keepsNextKeys ? s.own : null, i);
    }
  }

  private void place(long to, int row, @Nullable CudaKvSegment segment, int token) {
    long at = to - start + (long) row * ROW_BYTES;
    host.set(JAVA_LONG, at, segment == null ? 0 : segment.address());
    host.set(JAVA_INT, at + 8, token);
    host.set(JAVA_INT, at + 12, segment == null ? 0 : segment.tokens());
  }

  private void cut(Sequence s, int sequence, Kernels.Attention attention, int smallestPart, List<Item> all) {
    AttentionCut cut = AttentionCut.of(config, s, attention, smallestPart);
    int keys = s.contextTokens() + s.tokens.length;
    for (int tile = 0; tile < AttentionCut.rowTiles(config, s, attention); tile++) {
      boolean merged = cut.parts() > 1;
      if (merged) {
        longestMerge = Math.max(longestMerge, cut.parts());
        put(merges - start + (long) mergeCount++ * MERGE_BYTES, sequence, tile, partials, cut.parts());
      }
      for (int i = 0; i < cut.parts(); i++) {
        all.add(new Item(sequence, tile, i * cut.keys(), Math.min((i + 1) * cut.keys(), keys), merged ? partials++ : -1,
            mergeCount - 1));
      }
    }
  }

  /**
   * Lays out decoding that stays on the device: one token at {@code position}, whose segment has room for those that
   * follow; the kernel that chooses a token advances token, position and sequence.
   */
  void layGrowing(CudaKvSegment own, int token, int position) {
    rows = 1;
    spanCount = 1;
    quantised = false;
    partials = 0;
    mergeCount = 1;
    longestMerge = (own.tokens() + Kernels.KEY_TILE - 1) / Kernels.KEY_TILE;
    int capacity = own.tokens();
    host.set(JAVA_INT, tokens - start, token);
    host.set(JAVA_INT, positions - start, position);
    place(places, 0, own, position);
    put(sequences - start, 0, 1, position, 0);
    span(spans, 0, own.address(), capacity, capacity, 0);
    for (int from = 0; from < capacity; from += Kernels.KEY_TILE) {
      long at = items - start + (long) partials * ITEM_BYTES;
      put(at, 0, 0, from, Math.min(capacity, from + Kernels.KEY_TILE));
      host.set(JAVA_INT, at + 16, partials++);
      host.set(JAVA_INT, at + 20, 0);
    }
    itemCount = partials;
    put(merges - start, 0, 0, 0, partials);
    putCounts();
    reservePartials(kernels.decodeAttention);
  }

  private void putCounts() {
    host.set(JAVA_INT, counts - start, itemCount);
    host.set(JAVA_INT, counts - start + 4, mergeCount);
  }

  /** Sets the segments that the batch's probe scores, in the order in which they are summed. */
  void probe(List<CudaKvSegment> scored) {
    probes.clear();
    probedSpans = 0;
    addProbe(scored);
  }

  /** The same for another probe of the batch, after those before it. */
  void addProbe(List<CudaKvSegment> scored) {
    long count = counts + 8 + 4L * probes.size();
    probes.add(new Probed(probeSpans + (long) probedSpans * SPAN_BYTES, count));
    for (CudaKvSegment segment : scored) {
      span(probeSpans, probedSpans++, segment.reference(), segment.slots(), segment.slots(), 0);
    }
    host.set(JAVA_INT, count - start, scored.size());
  }

  /** The probe that was added as this one. */
  Probed probed(int index) {
    return probes.get(index);
  }

  /** Sets rows that a product picks out, from pick {@code first} on. */
  void pick(int first, int[] picked) {
    for (int i = 0; i < picked.length; i++) {
      host.set(JAVA_INT, picks - start + 4L * (first + i), picked[i]);
    }
  }

  /** Copies what was laid out, all of it, and fills the key table. */
  void upload() {
    device.upload(start, host.asSlice(0, spans - start + (long) spanCount * SPAN_BYTES));
    kernels.buildTable.launch(spanCount, 1, 128, spans, table);
  }

  int rows() {
    return rows;
  }

  int sequenceCount() {
    return sequenceCount;
  }

  /** Tokens of the longest sequence. */
  int longest() {
    return longest;
  }

  int itemCount() {
    return itemCount;
  }

  int mergeCount() {
    return mergeCount;
  }

  /** Whether some keys and values are int8. */
  boolean quantised() {
    return quantised;
  }

  /** Most parts of a split context. */
  int longestMerge() {
    return longestMerge;
  }

  private void span(long to, int index, long address, int segmentTokens, int count, int firstKey) {
    long at = to - start + (long) index * SPAN_BYTES;
    host.set(JAVA_LONG, at, address);
    host.set(JAVA_INT, at + 8, segmentTokens);
    host.set(JAVA_INT, at + 12, count);
    host.set(JAVA_INT, at + 16, firstKey);
  }

  private void put(long at, int a, int b, int c, int d) {
    host.set(JAVA_INT, at, a);
    host.set(JAVA_INT, at + 4, b);
    host.set(JAVA_INT, at + 8, c);
    host.set(JAVA_INT, at + 12, d);
  }
}
