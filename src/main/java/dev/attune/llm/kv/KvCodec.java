package dev.attune.llm.kv;

/** How a kept key or value row is stored. */
public enum KvCodec {
  /** IEEE single precision: what passes compute with. */
  F32(4),
  /** The upper half of a single, rounded to nearest even. */
  BF16(2);

  private final int bytes;

  KvCodec(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one number. */
  public int bytes() {
    return bytes;
  }
}
