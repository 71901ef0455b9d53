package dev.attune.llm.cuda;

import dev.attune.llm.KvSegment;

/**
 * Keys and values in device memory, in bf16: for each key layer {@code [KV head][token][head size]} keys, then, if it is
 * a value layer, values likewise. Given back to the device some time after it has become unreachable.
 */
final class CudaKvSegment implements KvSegment {

  /**
   * Shape of a segment.
   *
   * @param layers layers with keys
   * @param valueLayers layers with values, {@code layers} or one less
   */
  record Shape(int kvHeads, int headSize, int tokens, int layers, int valueLayers, int firstPosition) {

    long bytes() {
      return ((long) layers + valueLayers) * kvHeads * blockBytes();
    }

    /** Bytes of one head's keys, or values, in one layer. */
    long blockBytes() {
      return 2L * tokens * headSize;
    }
  }

  final Shape shape;
  /** On the device. */
  final long address;
  private final long contentId;

  CudaKvSegment(Shape shape, long address, long contentId) {
    this.shape = shape;
    this.address = address;
    this.contentId = contentId;
  }

  @Override
  public int tokens() {
    return shape.tokens;
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
