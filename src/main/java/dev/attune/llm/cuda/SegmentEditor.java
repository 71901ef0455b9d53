package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.IntBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Makes segments of others: chosen slots of several, or the same slots in another codec. On the device's thread, like
 * everything that puts work into the stream.
 */
final class SegmentEditor {

  private static final int THREADS = 256;
  /** Slots that one block of the gathering kernel copies. */
  private static final int PIECE = 64;
  private static final int SPAN_BYTES = 24;
  private static final int PLAN_BYTES = 20;

  private final CudaDevice device;
  private final Kernels kernels;
  private final SegmentMemory memory;

  SegmentEditor(CudaDevice device, Kernels kernels, SegmentMemory memory) {
    this.device = device;
    this.kernels = kernels;
    this.memory = memory;
  }

  /**
   * One segment of slots that heads keep of several that follow each other.
   *
   * @param codec of the result
   * @param firstPosition of the result
   * @param tokens that the result stands for
   */
  CudaKvSegment retain(List<CudaKvSegment> parts, KeptSlots kept, KvCodec codec, int firstPosition, int tokens) {
    CudaKvSegment.Shape first = parts.getFirst().shape;
    int[] common = kept.common();
    boolean asTheyAre = codec != KvCodec.INT8 || keepsScales(parts, codec);
    if (common != null && asTheyAre && parts.stream().noneMatch(CudaKvSegment::ragged)) {
      return gather(parts, common, codec, firstPosition, tokens);
    }
    int count = kept.commonCount().orElse(0);
    int slots = count > 0 ? count : CudaKvSegment.Shape.RAGGED;
    RaggedHeads heads = slots != CudaKvSegment.Shape.RAGGED ? null
        : new RaggedHeads(codec, first.kvHeads(), first.headSize(), first.valueLayers(),
            kept.heads().stream().mapToInt(KeptSlots.Head::size).toArray(),
            kept.heads().stream().mapToInt(KeptSlots.Head::allBiased).toArray());
    CudaKvSegment.Shape shape = new CudaKvSegment.Shape(codec, first.kvHeads(), first.headSize(), tokens, slots,
        first.layers(), first.valueLayers(), firstPosition, heads);
    CudaKvSegment whole = memory.allocate(device, shape, ContentIds.of(parts, codec, kept));
    try {
      copyHeads(parts, kept, whole);
      return whole;
    } finally {
      memory.settled(whole);
    }
  }

  /** Numbers of one segment in int8 stay as they are. */
  private static boolean keepsScales(List<CudaKvSegment> parts, KvCodec codec) {
    return codec == KvCodec.INT8 && parts.size() == 1 && parts.getFirst().shape.codec() == KvCodec.INT8;
  }

  private void copyHeads(List<CudaKvSegment> parts, KeptSlots kept, CudaKvSegment whole) {
    CudaKvSegment.Shape shape = whole.shape;
    // Most heads keep the same: each list is copied once.
    Map<IntBuffer, Integer> lists = new LinkedHashMap<>();
    int numbers = 0;
    for (KeptSlots.Head head : kept.heads()) {
      for (int[] list : List.of(head.slots(), head.dropped())) {
        if (lists.putIfAbsent(IntBuffer.wrap(list), numbers) == null) {
          numbers += list.length;
        }
      }
    }
    long plansAt = (long) SPAN_BYTES * parts.size();
    long listsAt = plansAt + (long) PLAN_BYTES * kept.heads().size();
    long bytes = listsAt + 4L * numbers;
    long table = device.allocatePooled(Math.max(16, bytes), "lists of slots");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment host = arena.allocate(bytes, 8);
      putParts(host, parts);
      for (int i = 0; i < kept.heads().size(); i++) {
        KeptSlots.Head head = kept.heads().get(i);
        int[] plan = {lists.get(IntBuffer.wrap(head.slots())), head.slots().length, head.biased(),
            lists.get(IntBuffer.wrap(head.dropped())), head.dropped().length};
        MemorySegment.copy(plan, 0, host, JAVA_INT, plansAt + (long) PLAN_BYTES * i, plan.length);
      }
      lists.forEach((list, at) ->
          MemorySegment.copy(list.array(), 0, host, JAVA_INT, listsAt + 4L * at, list.array().length));
      device.upload(table, host);
      if (shape.heads() != null) {
        MemorySegment directory = arena.allocate(shape.heads().directoryBytes(), 8);
        shape.heads().write(directory);
        device.upload(whole.address(), directory);
      }
      kernels.retainHeads().launch(kept.heads().size(), 2, THREADS, table, table + plansAt, table + listsAt,
          whole.reference(), Math.max(0, shape.slots()), shape.kvHeads(), shape.valueLayers(),
          keepsScales(parts, shape.codec()) ? 1 : 0);
      device.synchronize("Keeping some slots of %d segments".formatted(parts.size()));
    }
    device.freePooled(table);
  }

  private static void putParts(MemorySegment to, List<CudaKvSegment> parts) {
    for (int i = 0; i < parts.size(); i++) {
      to.set(JAVA_LONG, (long) SPAN_BYTES * i, parts.get(i).reference());
      to.set(JAVA_INT, (long) SPAN_BYTES * i + 8, parts.get(i).slots());
      to.set(JAVA_INT, (long) SPAN_BYTES * i + 12, parts.get(i).slots());
    }
  }

  /**
   * One segment of the same slots of all heads of several that follow each other and are not ragged.
   *
   * @param codec that of {@link Numbers}, or int8 of one segment in int8, whose numbers and scales stay as they are
   * @param firstPosition of the result
   * @param tokens that the result stands for
   */
  CudaKvSegment gather(List<CudaKvSegment> parts, int[] kept, KvCodec codec, int firstPosition, int tokens) {
    CudaKvSegment.Shape first = parts.getFirst().shape;
    CudaKvSegment.Shape shape = new CudaKvSegment.Shape(codec, first.kvHeads(), first.headSize(), tokens, kept.length,
        first.layers(), first.valueLayers(), firstPosition);
    CudaKvSegment whole = memory.allocate(device, shape, ContentIds.of(parts, codec, kept));
    try {
      if (shape.blocks() > 0) {
        copy(parts, kept, whole);
      }
      return whole;
    } finally {
      memory.settled(whole);
    }
  }

  private void copy(List<CudaKvSegment> parts, int[] kept, CudaKvSegment whole) {
    long slotsAt = (long) SPAN_BYTES * parts.size();
    long bytes = slotsAt + 8L * kept.length;
    long table = device.allocatePooled(bytes, "a list of slots");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment lists = arena.allocate(bytes, 8);
      int part = 0;
      int before = 0;
      putParts(lists, parts);
      for (int i = 0; i < kept.length; i++) {
        while (kept[i] - before >= parts.get(part).slots()) {
          before += parts.get(part++).slots();
        }
        lists.set(JAVA_INT, slotsAt + 8L * i, part);
        lists.set(JAVA_INT, slotsAt + 8L * i + 4, kept[i] - before);
      }
      device.upload(table, lists);
      kernels.gatherSlots.launch(whole.shape.blocks(), (kept.length + PIECE - 1) / PIECE, THREADS, table,
          table + slotsAt, kept.length, whole.reference(), whole.shape.kvHeads(), whole.shape.headSize());
      device.synchronize("Gathering %d slots of %d segments".formatted(kept.length, parts.size()));
    }
    device.freePooled(table);
  }

  /** The segment in the codec of {@link Numbers} or int8; itself when it is in that one already. */
  CudaKvSegment recode(CudaKvSegment segment, KvCodec codec) {
    CudaKvSegment.Shape shape = segment.shape.in(codec);
    if (codec == segment.shape.codec()) {
      return segment;
    }
    if (segment.ragged()) {
      List<CudaKvSegment> parts = List.of(segment);
      KeptSlots all = KeptSlots.of(parts, shape.kvHeads(), KeptSlots.ALL);
      return retain(parts, all, codec, shape.firstPosition(), shape.tokens());
    }
    int[] all = IntStream.range(0, shape.slots()).toArray();
    if (codec != KvCodec.INT8) {
      return gather(List.of(segment), all, codec, shape.firstPosition(), shape.tokens());
    }
    CudaKvSegment coded = memory.allocate(device, shape, ContentIds.of(List.of(segment), codec, all));
    try {
      quantise(kernels, segment, coded);
      // Passes of other streams may use it at once.
      device.synchronize("Quantising %d slots".formatted(shape.slots()));
      return coded;
    } finally {
      memory.settled(coded);
    }
  }

  /** Puts the quantising of a segment in 16 bits into another of the same slots into the stream. */
  static void quantise(Kernels kernels, CudaKvSegment from, CudaKvSegment to) {
    CudaKvSegment.Shape shape = to.shape;
    if (shape.blocks() > 0) {
      kernels.quantise.launch(shape.blocks(), 1, THREADS, from.address(), to.reference(), shape.slots(),
          shape.kvHeads(), shape.headSize());
    }
  }
}
