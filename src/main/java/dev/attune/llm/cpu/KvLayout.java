package dev.attune.llm.cpu;

import dev.attune.llm.kv.KvCodec;

/**
 * Where the numbers of a segment lie, and how many there are.
 *
 * @param tokens that the segment was computed from
 * @param layers layers with keys
 * @param valueLayers layers with values, {@code layers} or one less
 * @param slots of every head, or −1 when they differ and a directory says how many
 */
record KvLayout(
    KvCodec codec, int kvHeads, int headSize, int tokens, int layers, int valueLayers, int firstPosition, int slots) {

  static final int HEADER = 64;
  /** Bytes of the directory for one head of one layer. */
  static final int ENTRY = 24;

  static final int RAGGED = -1;

  boolean ragged() {
    return slots == RAGGED;
  }

  long directoryBytes() {
    return ragged() ? (long) layers * kvHeads * ENTRY : 0;
  }

  /** Bytes of a head's keys, the biases of its first slots before them. */
  long keyBytes(int headSlots, int biased) {
    return 4L * biased + codec.keyBytes(headSlots, headSize);
  }

  long valueBytes(int headSlots) {
    return codec.valueBytes(headSlots, headSize);
  }

  /** Start of a head's keys when all heads have the same number of slots. */
  long keysAt(int layer, int head) {
    long keys = keyBytes(slots, 0);
    return HEADER + layer * kvHeads * (keys + valueBytes(slots)) + head * keys;
  }

  /** Start of a head's values when all heads have the same number of slots. */
  long valuesAt(int layer, int head) {
    long keys = keyBytes(slots, 0);
    long values = valueBytes(slots);
    return HEADER + layer * kvHeads * (keys + values) + kvHeads * keys + head * values;
  }

  /** Bytes of the image when all heads have the same number of slots. */
  long uniformBytes() {
    return HEADER + kvHeads * (layers * keyBytes(slots, 0) + valueLayers * valueBytes(slots));
  }

  boolean plausible() {
    return tokens >= 1 && layers >= 0 && valueLayers >= 0 && layers - valueLayers <= 1 && layers >= valueLayers
        && firstPosition >= 0 && kvHeads >= 1 && headSize >= 1 && slots >= RAGGED && slots <= tokens;
  }
}
