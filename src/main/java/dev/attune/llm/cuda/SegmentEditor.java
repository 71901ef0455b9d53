package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Makes segments of others: chosen slots of several, or the same slots in another codec. All heads keep the same slots.
 * On the device's thread, like everything that puts work into the stream.
 */
final class SegmentEditor {

  private static final int THREADS = 256;
  /** Slots that one block of the gathering kernel copies. */
  private static final int PIECE = 64;
  private static final int SPAN_BYTES = 24;

  private final CudaDevice device;
  private final Kernels kernels;
  private final SegmentMemory memory;

  SegmentEditor(CudaDevice device, Kernels kernels, SegmentMemory memory) {
    this.device = device;
    this.kernels = kernels;
    this.memory = memory;
  }

  /**
   * Slots that all heads keep, counted through the segments in order.
   *
   * @throws UnsupportedOperationException when heads differ or a slot is to stand for those dropped
   * @throws IllegalArgumentException when a slot is out of range, slots do not ascend, or none is kept
   */
  static int[] uniform(List<CudaKvSegment> segments, Retained retained) {
    CudaKvSegment.Shape shape = segments.getFirst().shape;
    int available = segments.stream().mapToInt(CudaKvSegment::slots).sum();
    int[] kept = retained.slots(0, 0, available);
    for (int layer = 0; layer < shape.layers(); layer++) {
      for (int head = 0; head < shape.kvHeads(); head++) {
        if (retained.compensated(layer, head) || !Arrays.equals(kept, retained.slots(layer, head, available))) {
          throw new UnsupportedOperationException("The CUDA backend keeps the same slots of all heads");
        }
      }
    }
    for (int i = 0; i < kept.length; i++) {
      if (kept[i] < (i == 0 ? 0 : kept[i - 1] + 1) || kept[i] >= available) {
        throw new IllegalArgumentException("Slots of %d that are kept must ascend: %s".formatted(available,
            Arrays.toString(kept)));
      }
    }
    if (kept.length == 0) {
      throw new IllegalArgumentException("A segment keeps at least one slot");
    }
    return kept;
  }

  /**
   * One segment of slots of several that follow each other.
   *
   * @param codec bf16, or int8 of one segment in int8, whose numbers and scales stay as they are
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
      for (int i = 0; i < parts.size(); i++) {
        lists.set(JAVA_LONG, (long) SPAN_BYTES * i, parts.get(i).reference());
        lists.set(JAVA_INT, (long) SPAN_BYTES * i + 8, parts.get(i).slots());
        lists.set(JAVA_INT, (long) SPAN_BYTES * i + 12, parts.get(i).slots());
      }
      for (int i = 0; i < kept.length; i++) {
        while (kept[i] - before >= parts.get(part).slots()) {
          before += parts.get(part++).slots();
        }
        lists.set(JAVA_INT, slotsAt + 8L * i, part);
        lists.set(JAVA_INT, slotsAt + 8L * i + 4, kept[i] - before);
      }
      device.upload(table, lists);
      kernels.gatherSlots.launch(whole.shape.blocks(), (kept.length + PIECE - 1) / PIECE, THREADS, table, table + slotsAt,
          kept.length, whole.reference(), whole.shape.kvHeads(), whole.shape.headSize());
      device.synchronize("Gathering %d slots of %d segments".formatted(kept.length, parts.size()));
    }
    device.freePooled(table);
  }

  /** The segment in bf16 or int8; itself when it is in that one already. */
  CudaKvSegment recode(CudaKvSegment segment, KvCodec codec) {
    CudaKvSegment.Shape shape = segment.shape.in(codec);
    int[] all = IntStream.range(0, shape.slots()).toArray();
    if (codec == segment.shape.codec()) {
      return segment;
    }
    if (codec == KvCodec.BF16) {
      return gather(List.of(segment), all, codec, shape.firstPosition(), shape.tokens());
    }
    CudaKvSegment coded = memory.allocate(device, shape, ContentIds.of(List.of(segment), codec, all));
    try {
      if (shape.blocks() > 0) {
        kernels.quantise.launch(shape.blocks(), 1, THREADS, segment.address(), coded.reference(), shape.slots(),
            shape.kvHeads(), shape.headSize());
        // Passes of other streams may use it at once.
        device.synchronize("Quantising %d slots".formatted(shape.slots()));
      }
      return coded;
    } finally {
      memory.settled(coded);
    }
  }
}
