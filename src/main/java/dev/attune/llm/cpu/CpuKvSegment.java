package dev.attune.llm.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.attune.llm.KvSegment;
import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Keys and values in native memory, behind a header, so that the memory as it is can be written to a file and mapped
 * again. Freed when unreachable.
 *
 * <p>Image, native byte order:
 *
 * <pre>
 * 0 magic "ATKV"   4 version 2     8 codec ordinal   12 KV heads             16 head size    20 tokens
 * 24 key layers    28 value layers 32 first position 36 slots, -1 ragged     40 content id   48 bytes of the image
 * 56 zero          (64 bytes)
 * if ragged, for each key layer and KV head: slots (4), biased slots (4), offset of keys (8), offset of values (8)
 * then for each key layer: keys of every KV head, and if it is a value layer: values of every KV head
 *
 * keys of a head:   bias [biased slots] f32; int8: scale [head size] f32; numbers [slot][head size]
 * values of a head: int8: scale [slot] f32; numbers [slot][head size]
 * </pre>
 *
 * The first slots of a head may have a bias, which is added to their logits: a slot with bias {@code ln n} stands for
 * {@code n} tokens.
 */
final class CpuKvSegment implements KvSegment {

  private static final int MAGIC = 0x564b5441;
  private static final int VERSION = 2;
  private static final int ALIGNMENT = 64;
  private static final int LARGEST = 127;

  final KvLayout layout;
  final MemorySegment image;
  private final long contentId;

  private CpuKvSegment(KvLayout layout, long contentId, MemorySegment image) {
    this.layout = layout;
    this.contentId = contentId;
    this.image = image;
  }

  /** A segment to be filled in whose heads all have a slot for every token, or all the same fewer slots. */
  static CpuKvSegment allocate(KvLayout layout, long contentId) {
    return allocate(layout, contentId, layout.uniformBytes());
  }

  /**
   * A segment to be filled in whose heads differ.
   *
   * @param heads {@code [layer * kvHeads + head]}
   */
  static CpuKvSegment allocate(KvLayout layout, long contentId, List<KeptSlots.Head> heads) {
    long end = KvLayout.HEADER + layout.directoryBytes();
    long[] keys = new long[heads.size()];
    long[] values = new long[heads.size()];
    for (int first = 0; first < keys.length; first += layout.kvHeads()) {
      for (int i = first; i < first + layout.kvHeads(); i++) {
        keys[i] = end;
        end += layout.keyBytes(heads.get(i).size(), heads.get(i).allBiased());
      }
      for (int i = first; i < first + layout.kvHeads(); i++) {
        values[i] = end;
        end += first / layout.kvHeads() < layout.valueLayers() ? layout.valueBytes(heads.get(i).size()) : 0;
      }
    }
    CpuKvSegment segment = allocate(layout, contentId, end);
    for (int i = 0; i < keys.length; i++) {
      long at = KvLayout.HEADER + (long) i * KvLayout.ENTRY;
      segment.image.set(JAVA_INT_UNALIGNED, at, heads.get(i).size());
      segment.image.set(JAVA_INT_UNALIGNED, at + 4, heads.get(i).allBiased());
      segment.image.set(JAVA_LONG_UNALIGNED, at + 8, keys[i]);
      segment.image.set(JAVA_LONG_UNALIGNED, at + 16, values[i]);
    }
    return segment;
  }

  private static CpuKvSegment allocate(KvLayout layout, long contentId, long bytes) {
    MemorySegment image = Arena.ofAuto().allocate(bytes, ALIGNMENT);
    image.set(JAVA_INT_UNALIGNED, 0, MAGIC);
    image.set(JAVA_INT_UNALIGNED, 4, VERSION);
    image.set(JAVA_INT_UNALIGNED, 8, layout.codec().ordinal());
    image.set(JAVA_INT_UNALIGNED, 12, layout.kvHeads());
    image.set(JAVA_INT_UNALIGNED, 16, layout.headSize());
    image.set(JAVA_INT_UNALIGNED, 20, layout.tokens());
    image.set(JAVA_INT_UNALIGNED, 24, layout.layers());
    image.set(JAVA_INT_UNALIGNED, 28, layout.valueLayers());
    image.set(JAVA_INT_UNALIGNED, 32, layout.firstPosition());
    image.set(JAVA_INT_UNALIGNED, 36, layout.slots());
    image.set(JAVA_LONG_UNALIGNED, 40, contentId);
    image.set(JAVA_LONG_UNALIGNED, 48, bytes);
    return new CpuKvSegment(layout, contentId, image);
  }

  static CpuKvSegment restore(MemorySegment image) {
    if (image.byteSize() < KvLayout.HEADER || image.get(JAVA_INT_UNALIGNED, 0) != MAGIC
        || image.get(JAVA_INT_UNALIGNED, 4) != VERSION) {
      throw new IllegalArgumentException("Not a KV image of version " + VERSION);
    }
    int codec = image.get(JAVA_INT_UNALIGNED, 8);
    if (codec < 0 || codec >= KvCodec.values().length) {
      throw new IllegalArgumentException("KV image has unknown codec " + codec);
    }
    KvLayout layout = new KvLayout(
        KvCodec.values()[codec],
        image.get(JAVA_INT_UNALIGNED, 12),
        image.get(JAVA_INT_UNALIGNED, 16),
        image.get(JAVA_INT_UNALIGNED, 20),
        image.get(JAVA_INT_UNALIGNED, 24),
        image.get(JAVA_INT_UNALIGNED, 28),
        image.get(JAVA_INT_UNALIGNED, 32),
        image.get(JAVA_INT_UNALIGNED, 36));
    long bytes = image.get(JAVA_LONG_UNALIGNED, 48);
    if (!layout.plausible() || bytes > image.byteSize() || bytes != expectedBytes(layout, image)) {
      throw new IllegalArgumentException("KV image of %d bytes is damaged: %s".formatted(image.byteSize(), layout));
    }
    return new CpuKvSegment(layout, image.get(JAVA_LONG_UNALIGNED, 40), image.asSlice(0, bytes));
  }

  /** What the image must be long to hold what it says, or −1 when it contradicts itself. */
  private static long expectedBytes(KvLayout layout, MemorySegment image) {
    if (!layout.ragged()) {
      return layout.uniformBytes();
    }
    long end = KvLayout.HEADER + layout.directoryBytes();
    if (end > image.byteSize()) {
      return -1;
    }
    for (int i = 0; i < layout.layers() * layout.kvHeads(); i++) {
      long at = KvLayout.HEADER + (long) i * KvLayout.ENTRY;
      int slots = image.get(JAVA_INT_UNALIGNED, at);
      int biased = image.get(JAVA_INT_UNALIGNED, at + 4);
      if (slots < 0 || slots > layout.tokens() + 1 || biased < 0 || biased > slots) {
        return -1;
      }
    }
    for (int layer = 0; layer < layout.layers(); layer++) {
      for (int part = 0; part < 2; part++) {
        for (int head = 0; head < layout.kvHeads(); head++) {
          long at = KvLayout.HEADER + ((long) layer * layout.kvHeads() + head) * KvLayout.ENTRY;
          if (image.get(JAVA_LONG_UNALIGNED, at + 8 + 8 * part) != end) {
            return -1;
          }
          int slots = image.get(JAVA_INT_UNALIGNED, at);
          if (part == 0) {
            end += layout.keyBytes(slots, image.get(JAVA_INT_UNALIGNED, at + 4));
          } else if (layer < layout.valueLayers()) {
            end += layout.valueBytes(slots);
          }
        }
      }
    }
    return end;
  }

  private long entry(int layer, int head) {
    return KvLayout.HEADER + ((long) layer * layout.kvHeads() + head) * KvLayout.ENTRY;
  }

  @Override
  public int slots(int layer, int head) {
    return layout.ragged() ? image.get(JAVA_INT_UNALIGNED, entry(layer, head)) : layout.slots();
  }

  /** How many of a head's first slots have a bias. */
  @Override
  public int biased(int layer, int head) {
    return layout.ragged() ? image.get(JAVA_INT_UNALIGNED, entry(layer, head) + 4) : 0;
  }

  boolean quantised() {
    return layout.codec() == KvCodec.INT8;
  }

  private long biases(int layer, int head) {
    return layout.ragged() ? image.get(JAVA_LONG_UNALIGNED, entry(layer, head) + 8) : layout.keysAt(layer, head);
  }

  private long keys(int layer, int head) {
    return biases(layer, head) + 4L * biased(layer, head);
  }

  private long values(int layer, int head) {
    return layout.ragged() ? image.get(JAVA_LONG_UNALIGNED, entry(layer, head) + 16) : layout.valuesAt(layer, head);
  }

  private long keyNumbers(int layer, int head) {
    return keys(layer, head) + (quantised() ? 4L * layout.headSize() : 0);
  }

  private long valueNumbers(int layer, int head) {
    return values(layer, head) + (quantised() ? 4L * slots(layer, head) : 0);
  }

  /** Reads {@code count} rows of a head's keys, {@code [count][headSize]}; quantised ones without their scales. */
  void readKeys(int layer, int head, int slot, float[] rows, int count) {
    read(keyNumbers(layer, head), slot, rows, count);
  }

  void readValues(int layer, int head, int slot, float[] rows, int count) {
    read(valueNumbers(layer, head), slot, rows, count);
  }

  /** Reads the scales of quantised keys, one per channel. */
  void readKeyScales(int layer, int head, float[] scales) {
    MemorySegment.copy(image, JAVA_FLOAT_UNALIGNED, keys(layer, head), scales, 0, layout.headSize());
  }

  /** Reads the scales of quantised values, one per slot. */
  void readValueScales(int layer, int head, int slot, float[] scales, int count) {
    MemorySegment.copy(image, JAVA_FLOAT_UNALIGNED, values(layer, head) + 4L * slot, scales, 0, count);
  }

  /** Reads biases; only the first {@link #biased} slots have one. */
  void readBiases(int layer, int head, int slot, float[] biases, int count) {
    MemorySegment.copy(image, JAVA_FLOAT_UNALIGNED, biases(layer, head) + 4L * slot, biases, 0, count);
  }

  void writeBias(int layer, int head, int slot, float bias) {
    image.set(JAVA_FLOAT_UNALIGNED, biases(layer, head) + 4L * slot, bias);
  }

  /** Stores all keys of a head; row {@code i} starts at {@code offset + i * stride}. */
  void writeKeys(int layer, int head, float[] from, int offset, int stride) {
    int slots = slots(layer, head);
    if (!quantised()) {
      write(keyNumbers(layer, head), from, offset, stride, slots);
      return;
    }
    float[] scales = new float[layout.headSize()];
    for (int i = 0; i < slots; i++) {
      for (int d = 0; d < scales.length; d++) {
        scales[d] = Math.max(scales[d], Math.abs(from[offset + i * stride + d]));
      }
    }
    for (int d = 0; d < scales.length; d++) {
      scales[d] /= LARGEST;
    }
    writeKeys(layer, head, from, offset, stride, scales);
  }

  /** Stores all keys of a head with scales that are given. */
  void writeKeys(int layer, int head, float[] from, int offset, int stride, float[] scales) {
    MemorySegment.copy(scales, 0, image, JAVA_FLOAT_UNALIGNED, keys(layer, head), scales.length);
    float[] inverse = new float[scales.length];
    for (int d = 0; d < scales.length; d++) {
      inverse[d] = scales[d] > 0 ? 1 / scales[d] : 0;
    }
    long at = keyNumbers(layer, head);
    int slots = slots(layer, head);
    for (int i = 0; i < slots; i++) {
      for (int d = 0; d < scales.length; d++) {
        image.set(JAVA_BYTE, at++, quantise(from[offset + i * stride + d] * inverse[d]));
      }
    }
  }

  void writeValues(int layer, int head, float[] from, int offset, int stride) {
    int slots = slots(layer, head);
    if (!quantised()) {
      write(valueNumbers(layer, head), from, offset, stride, slots);
      return;
    }
    long at = valueNumbers(layer, head);
    for (int i = 0; i < slots; i++) {
      float largest = 0;
      for (int d = 0; d < layout.headSize(); d++) {
        largest = Math.max(largest, Math.abs(from[offset + i * stride + d]));
      }
      float scale = largest / LARGEST;
      float inverse = scale > 0 ? 1 / scale : 0;
      image.set(JAVA_FLOAT_UNALIGNED, values(layer, head) + 4L * i, scale);
      for (int d = 0; d < layout.headSize(); d++) {
        image.set(JAVA_BYTE, at++, quantise(from[offset + i * stride + d] * inverse));
      }
    }
  }

  /** Replaces the scale of a slot's values by one that differs in rounding only. */
  void writeValueScale(int layer, int head, int slot, float scale) {
    image.set(JAVA_FLOAT_UNALIGNED, values(layer, head) + 4L * slot, scale);
  }

  private static byte quantise(float x) {
    return (byte) Math.clamp(Math.rint(x), -LARGEST, LARGEST);
  }

  private void write(long at, float[] from, int offset, int stride, int count) {
    int size = layout.headSize();
    for (int i = 0; i < count; i++, at += (long) size * layout.codec().bytes()) {
      int row = offset + i * stride;
      switch (layout.codec()) {
        case F32 -> MemorySegment.copy(from, row, image, JAVA_FLOAT_UNALIGNED, at, size);
        case BF16 -> Lanes.toBf16(from, row, image, at, size);
        case FP16 -> Lanes.toFp16(from, row, image, at, size);
        case INT8 -> throw new IllegalStateException("Numbers of int8 need scales");
      }
    }
  }

  private void read(long block, int slot, float[] rows, int count) {
    int numbers = count * layout.headSize();
    long at = block + (long) slot * layout.headSize() * layout.codec().bytes();
    switch (layout.codec()) {
      case F32 -> MemorySegment.copy(image, JAVA_FLOAT_UNALIGNED, at, rows, 0, numbers);
      case BF16 -> Lanes.fromBf16(image, at, rows, 0, numbers);
      case FP16 -> Lanes.fromFp16(image, at, rows, 0, numbers);
      case INT8 -> Lanes.fromInt8(image, at, rows, 0, numbers);
    }
  }

  @Override
  public int tokens() {
    return layout.tokens();
  }

  @Override
  public int layers() {
    return layout.layers();
  }

  @Override
  public int valueLayers() {
    return layout.valueLayers();
  }

  @Override
  public int firstPosition() {
    return layout.firstPosition();
  }

  @Override
  public int meanSlots() {
    if (!layout.ragged()) {
      return layout.slots();
    }
    long slots = 0;
    for (int layer = 0; layer < layout.layers(); layer++) {
      slots += slots(layer);
    }
    long heads = (long) layout.layers() * layout.kvHeads();
    return Math.toIntExact((slots + heads - 1) / heads);
  }

  /** Slots of all heads of a layer. */
  long slots(int layer) {
    long slots = 0;
    for (int head = 0; head < layout.kvHeads(); head++) {
      slots += slots(layer, head);
    }
    return slots;
  }

  /** Bytes of keys and values of a layer, scales and biases included. */
  long bytesOf(int layer) {
    long bytes = keyBytesOf(layer);
    for (int head = 0; layer < layout.valueLayers() && head < layout.kvHeads(); head++) {
      bytes += layout.valueBytes(slots(layer, head));
    }
    return bytes;
  }

  long keyBytesOf(int layer) {
    long bytes = 0;
    for (int head = 0; head < layout.kvHeads(); head++) {
      bytes += layout.keyBytes(slots(layer, head), biased(layer, head));
    }
    return bytes;
  }

  @Override
  public boolean reduced() {
    return layout.ragged() || layout.slots() < layout.tokens();
  }

  @Override
  public long bytes() {
    return image.byteSize();
  }

  @Override
  public long contentId() {
    return contentId;
  }
}
