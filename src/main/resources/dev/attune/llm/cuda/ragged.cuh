// Segments whose heads may differ in length, and slots that stand for others.

// Where the keys and values of one KV head lie in a layer. A segment whose heads differ begins with these of all layers and
// heads, the addresses counted from its start. Before the numbers, [slot][HEAD_SIZE], keys have the biases of the first slots, in whole
// groups of four, and int8 keys a scale for each channel; int8 values have a scale for each slot, in whole groups of four.
struct Block {
  u64 keys;
  u64 values;
  int slots;
  int biased;
};

DEVICE bool isRagged(u64 segment) { return segment & 2; }

DEVICE u64 wholeGroups(int numbers) { return (u64)((numbers + 3) & ~3); }

DEVICE Block blockOf(u64 segment, int capacity, int layer, int head, int kvHeads) {
  Block b;
  if (isRagged(segment)) {
    u64 start = segment & ~3ull;
    b = ((const Block*)start)[layer * kvHeads + head];
    b.keys += start;
    b.values += start;
  } else if (isInt8(segment)) {
    Int8Blocks blocks = int8Blocks(segment, capacity, layer, head, kvHeads, HEAD_SIZE);
    b = {(u64)blocks.keys, (u64)blocks.values, capacity, 0};
  } else {
    u64 ofHead = 2ull * capacity * HEAD_SIZE;
    b.keys = segment + (2ull * layer * kvHeads + head) * ofHead;
    b.values = b.keys + kvHeads * ofHead;
    b.slots = capacity;
    b.biased = 0;
  }
  return b;
}

DEVICE const float* keyScales(const Block& b) { return (const float*)(b.keys + 4 * wholeGroups(b.biased)); }

DEVICE u64 keyNumbers(const Block& b, bool int8) { return (u64)keyScales(b) + (int8 ? 4 * HEAD_SIZE : 0); }

DEVICE u64 valueNumbers(const Block& b, bool int8) { return b.values + (int8 ? 4 * wholeGroups(b.slots) : 0); }
