package dev.attune.llm.cuda;

import dev.attune.llm.KvSegment;
import dev.attune.llm.kv.KvCodec;
import org.jspecify.annotations.Nullable;

/**
 * Keys and values in device memory, or on their way there and back ({@link SegmentMemory}): for each key layer blocks
 * of keys, one a KV head, then, if it is a value layer, blocks of values. A block of {@link Numbers} is {@code
 * [slot][head size]}. A block of int8 keys has a scale in fp32 for each channel before the numbers, one of int8 values
 * a scale for each slot, padded to whole groups of four ({@link KvCodec#INT8}). Where heads differ, {@link RaggedHeads}
 * says where their blocks are, and the biases of a head's first slots come before its keys. Given back to the device
 * some time after it has become unreachable.
 */
final class CudaKvSegment implements KvSegment {

  /**
   * Shape of a segment.
   *
   * @param codec int8 or that of {@link Numbers}
   * @param tokens that it was computed from
   * @param slots of every head, at most as many as tokens, or {@link #RAGGED}
   * @param layers layers with keys
   * @param valueLayers layers with values, {@code layers} or one less
   * @param heads when they differ, have biases or no slots at all, else null
   */
  record Shape(
      KvCodec codec, int kvHeads, int headSize, int tokens, int slots, int layers, int valueLayers, int firstPosition,
      @Nullable RaggedHeads heads) {

    /** Number of slots where heads differ. */
    static final int RAGGED = -1;

    /** Of a segment whose heads all have the same number of slots. */
    Shape(
        KvCodec codec, int kvHeads, int headSize, int tokens, int slots, int layers, int valueLayers,
        int firstPosition) {
      this(codec, kvHeads, headSize, tokens, slots, layers, valueLayers, firstPosition, null);
    }

    /** Of a segment with a slot for every token. */
    static Shape whole(
        KvCodec codec, int kvHeads, int headSize, int tokens, int layers, int valueLayers, int firstPosition) {
      return new Shape(codec, kvHeads, headSize, tokens, tokens, layers, valueLayers, firstPosition);
    }

    Shape in(KvCodec other) {
      return new Shape(other, kvHeads, headSize, tokens, slots, layers, valueLayers, firstPosition,
          heads == null ? null : heads.in(other, headSize, valueLayers));
    }

    long bytes() {
      return heads != null ? heads.bytes() : kvHeads * (layers * keyBytes() + valueLayers * valueBytes());
    }

    /** Bytes of one head's keys in one layer. */
    long keyBytes() {
      return codec == KvCodec.INT8 ? 4L * headSize + (long) slots * headSize : 2L * slots * headSize;
    }

    /** Bytes of one head's values in one layer. */
    long valueBytes() {
      return codec == KvCodec.INT8 ? 4L * ((slots + 3) & ~3) + (long) slots * headSize : 2L * slots * headSize;
    }

    /** Blocks of all heads and layers. */
    int blocks() {
      return (layers + valueLayers) * kvHeads;
    }
  }

  /** Mark of int8 in {@link #reference}; addresses are multiples of more. */
  private static final long INT8 = 1;
  /** Mark of heads that differ. */
  private static final long RAGGED = 2;

  final Shape shape;
  private final long contentId;
  /** Where the numbers are; null when they stay where they are. */
  private final Residency.@Nullable Item item;
  private final long fixed;

  /** A segment whose memory is its owner's concern. */
  CudaKvSegment(Shape shape, long address, long contentId) {
    this.shape = shape;
    this.contentId = contentId;
    item = null;
    fixed = address;
  }

  CudaKvSegment(Shape shape, Residency.Item item, long contentId) {
    this.shape = shape;
    this.contentId = contentId;
    this.item = item;
    fixed = 0;
  }

  /** On the device; only while it is in use. */
  long address() {
    return item == null ? fixed : item.address;
  }

  Residency.@Nullable Item item() {
    return item;
  }

  /** As kernels know it: the address, marked when the numbers are int8, and when heads differ. */
  long reference() {
    return address() | (shape.codec == KvCodec.INT8 ? INT8 : 0) | (shape.heads != null ? RAGGED : 0);
  }

  /** Whether heads differ, have biases or no slots at all: only {@code ragged.cu} and {@code retain.cu} read such. */
  boolean ragged() {
    return shape.heads != null;
  }

  /** Of every head, or {@link Shape#RAGGED}. */
  int slots() {
    return shape.slots;
  }

  /** Most slots of a head. */
  int longest() {
    return shape.heads == null ? shape.slots : shape.heads.longest();
  }

  @Override
  public int biased(int layer, int kvHead) {
    return shape.heads == null ? 0 : shape.heads.biased(layer, kvHead);
  }

  @Override
  public int tokens() {
    return shape.tokens;
  }

  @Override
  public int slots(int layer, int kvHead) {
    return shape.heads == null ? shape.slots : shape.heads.slots(layer, kvHead);
  }

  @Override
  public int meanSlots() {
    RaggedHeads heads = shape.heads;
    return heads == null ? shape.slots : heads.meanSlots();
  }

  @Override
  public boolean reduced() {
    return shape.slots < shape.tokens;
  }

  /** Bytes of keys and values of a layer. */
  long bytesOf(int layer) {
    return shape.heads != null ? shape.heads.bytesOf(layer)
        : shape.kvHeads * (shape.keyBytes() + (layer < shape.valueLayers ? shape.valueBytes() : 0));
  }

  /** Bytes of keys of a layer. */
  long keyBytesOf(int layer) {
    return shape.heads != null ? shape.heads.keyBytesOf(layer) : shape.kvHeads * shape.keyBytes();
  }

  @Override
  public int layers() {
    return shape.layers;
  }

  @Override
  public int valueLayers() {
    return shape.valueLayers;
  }

  @Override
  public int firstPosition() {
    return shape.firstPosition;
  }

  @Override
  public long bytes() {
    return shape.bytes();
  }

  @Override
  public long contentId() {
    return contentId;
  }

  @Override
  public String toString() {
    return "CUDA segment " + shape;
  }
}
