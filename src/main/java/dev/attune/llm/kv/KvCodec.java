package dev.attune.llm.kv;

/** How kept key and value rows of one head are stored. Images name a codec by its place here: new ones come last. */
public enum KvCodec {
  /** IEEE single precision: what passes compute with. */
  F32(4),
  /** The upper half of a single, rounded to nearest even. */
  BF16(2),
  /**
   * Eight bits, symmetric: {@code number = integer * scale}, integers −127 to 127. Keys have one f32 scale per channel
   * of the head, over the segment, since single channels of keys are large for all tokens; values have one per token
   * (KIVI, arXiv 2402.02750, has the measurements behind that choice). Error of a number: at most half its scale.
   */
  INT8(1),
  /**
   * binary16 of IEEE 754, rounded to nearest even: eleven bits of each number, below 2⁻¹⁴ fewer. Numbers beyond 65,504
   * become that one.
   */
  FP16(2);

  private final int bytes;

  KvCodec(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one number, scales not counted. */
  public int bytes() {
    return bytes;
  }

  /** Bytes of the keys of one head in one layer, scales included. */
  public long keyBytes(int slots, int headSize) {
    return (long) slots * headSize * bytes + (this == INT8 ? 4L * headSize : 0);
  }

  /** Bytes of the values of one head in one layer, scales included. */
  public long valueBytes(int slots, int headSize) {
    return (long) slots * headSize * bytes + (this == INT8 ? 4L * slots : 0);
  }
}
