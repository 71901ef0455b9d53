// Shared by all kernels. No includes: NVRTC needs no headers on the machine.
typedef unsigned char u8;
typedef unsigned short num16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__
#define INFINITE __int_as_float(0x7f800000)

// Weights, activations, keys and values are numbers of 16 bits, fp16 (binary16 of IEEE 754) or bf16, for which all kernels are
// compiled; see Numbers. Sums are fp32.
#if defined(NUMBERS_FP16)
#define TYPE16 "f16"
#elif defined(NUMBERS_BF16)
#define TYPE16 "bf16"
#else
#error "Compiled for no type of numbers"
#endif
#define NUMBERS TYPE16 "." TYPE16

// Where the keys and values of a slot, `token`, lie: block (2 * layer + value) * kvHeads + head of a segment of `capacity`
// slots. The lowest bit of the segment's address says that its numbers are int8, with scales; kernels write num16 only.
struct Row {
  u64 segment;
  u32 token;
  u32 capacity;
};

// Tokens of one pass: rows firstRow ... of the batch; keys table[firstKey ...] hold first the context, then its own.
struct Sequence {
  int firstRow;
  int tokens;
  int contextTokens;
  int firstKey;
};

// Keys [keyBegin, keyEnd) for one tile of packed query rows; partial < 0 when no other item shares the tile, otherwise merge
// is the item that puts the parts together.
struct AttentionItem {
  int sequence;
  int rowTile;
  int keyBegin;
  int keyEnd;
  int partial;
  int merge;
};

// Partial results [firstPartial, firstPartial + count) of one tile of packed query rows.
struct MergeItem {
  int sequence;
  int rowTile;
  int firstPartial;
  int count;
};

// Keys of a tile of attention.
constexpr int KEYS = 64;

// Attention of one layer over items.
struct AttentionArgs {
  const num16* q;             // [row][heads * D], after RoPE
  num16* out;                 // [row][heads * D]
  const Row* table;
  const Sequence* sequences;
  const AttentionItem* items;
  const int* itemCount;
  float* partialOut;         // [partial][kvHead][tile row][D], not normalised
  float2* partialSums;       // [partial][kvHead][tile row]: maximum logit, sum of weights
  const MergeItem* merges;
  u32* arrived;              // [merge][kvHead], zero before and after
  int layer;
  int heads;
  int kvHeads;
  float scale;               // 1 / sqrt(D) * log2(e)
  int few;                   // a tile's last warp merges so many parts
};

// Tokens of a segment and where their rows go in the key table.
struct Span {
  u64 segment;
  int capacity;
  int tokens;
  int firstKey;
  int padding;
};

DEVICE bool isInt8(u64 segment) { return segment & 1; }

// Keys and values of one head in an int8 segment: for keys, a scale for each channel and then the numbers; for values, a scale for
// each slot, in whole groups of four, and then the numbers.
struct Int8Blocks {
  const u8* keys;
  const u8* values;
};

DEVICE Int8Blocks int8Blocks(u64 segment, u32 capacity, int layer, int head, int kvHeads, int d) {
  // Numbers of 32 bits, whose products of 64 are one instruction.
  u32 keys = (capacity + 4) * d, values = 4 * ((capacity + 3) & ~3u) + capacity * d;
  const u8* ofLayer = (const u8*)(segment & ~1ull) + (u32)(layer * kvHeads) * (u64)(keys + values);
  return {ofLayer + (u32)head * (u64)keys, ofLayer + (u32)kvHeads * (u64)keys + (u32)head * (u64)values};
}

DEVICE const u8* int8Keys(u64 segment, u32 capacity, int layer, int head, int kvHeads, int d) {
  return int8Blocks(segment, capacity, layer, head, kvHeads, d).keys;
}

DEVICE const u8* int8Values(u64 segment, u32 capacity, int layer, int head, int kvHeads, int d) {
  return int8Blocks(segment, capacity, layer, head, kvHeads, d).values;
}

DEVICE u32 multiplyPairs(u32 a, u32 b) {
  u32 product;
  asm("mul.rn." TYPE16 "x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

DEVICE u32 subtractPairs(u32 a, u32 b) {
  u32 difference;
  asm("sub.rn." TYPE16 "x2 %0, %1, %2;" : "=r"(difference) : "r"(a), "r"(b));
  return difference;
}

// Bytes 0 to 3 of a word of signed bytes as floats: the byte becomes the lowest of the mantissa of 2^23.
template <int I> DEVICE float signedByte(u32 flipped) {
  return __uint_as_float(__byte_perm(flipped, 0x4b000000u, 0x7650 + I)) - 8388736.0f;
}

DEVICE void signedBytes(u32 word, float (&out)[4]) {
  u32 flipped = word ^ 0x80808080u;
  out[0] = signedByte<0>(flipped);
  out[1] = signedByte<1>(flipped);
  out[2] = signedByte<2>(flipped);
  out[3] = signedByte<3>(flipped);
}

#if defined(NUMBERS_FP16)
DEVICE float from16(num16 bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}

DEVICE float low16(u32 pair) { return from16((num16)pair); }
DEVICE float high16(u32 pair) { return from16((num16)(pair >> 16)); }

// What fp16 cannot be becomes the largest number that it can: an infinity would make all of an answer NaN.
DEVICE u32 pack16(float low, float high) {
  u32 pair;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// Signed bytes are multiplied as 128ths, so that scales of small numbers are not below what fp16 is exact for.
DEVICE u32 packScales(float low, float high) { return pack16(128 * low, 128 * high); }

// Bytes 2 I and 2 I + 1 of a word of signed bytes whose signs have been flipped, times two of packScales. As the lowest of a
// mantissa, such a byte makes 9 and its 128th; all but the product is exact.
template <int I> DEVICE u32 scaledPair(u32 flipped, u32 scales) {
  u32 pair = __byte_perm(flipped, 0x48484848u, I ? 0x4342 : 0x4140);
  return multiplyPairs(subtractPairs(pair, 0x48804880u), scales);
}
#else
DEVICE float from16(num16 bits) { return __uint_as_float((u32)bits << 16); }
DEVICE float low16(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float high16(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

DEVICE u32 pack16(float low, float high) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

DEVICE u32 packScales(float low, float high) { return pack16(low, high); }

// Bytes 2 I and 2 I + 1 of a word of signed bytes whose signs have been flipped, times two of packScales, rounded once. As a
// mantissa, a byte makes 256 + 2 n for n from 0 on and 256 + n below, which gives 2 n or n times the scale, of which half is
// taken where it is positive.
template <int I> DEVICE u32 scaledPair(u32 flipped, u32 scales) {
  u32 pair = __byte_perm(flipped, 0x43434343u, I ? 0x4342 : 0x4140), offset, twice, half;
  offset = multiplyPairs(scales, 0xc380c380u);
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(twice) : "r"(pair), "r"(scales), "r"(offset));
  asm("fma.rn.relu.bf16x2 %0, %1, %2, %3;" : "=r"(half) : "r"(twice), "r"(0x3f003f00u), "r"(0x80008000u));
  return subtractPairs(twice, half);
}
#endif

DEVICE num16 to16(float x) { return (num16)pack16(x, 0.0f); }

// E4M3 numbers, and units of sums of squares of such.
constexpr float LARGEST_E4M3 = 448, NORM_UNITS = 4096;

DEVICE u32 packE4m3(float a, float b, float c, float d) {
  unsigned short low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
  return low | (u32)high << 16;
}

DEVICE u32 sharedAddress(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Programmatic dependent launch: what precedes waitForPrevious() may overlap the kernel before, so only weights, which
// no kernel writes, are read there.
DEVICE void waitForPrevious() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
DEVICE void releaseNext() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

// Read once, from global memory through the read-only path, without claiming the first-level cache.
DEVICE uint4 loadStreaming(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}

// Words that other blocks write while this one looks at them: past the first-level cache, each as it was written.
DEVICE uint4 loadShared16(const void* p) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}

DEVICE void storeWord(void* p, u32 word) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" :: "l"(p), "r"(word) : "memory");
}

// A word of two numbers that nobody has written yet. No conversion gives it: NaN becomes 0x7fff.
constexpr u32 UNWRITTEN = 0xffffffffu;

DEVICE bool written(uint4 v) { return max(max(v.x, v.y), max(v.z, v.w)) != UNWRITTEN; }

DEVICE void mma(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NUMBERS ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// 2^x; 0 for -infinity.
DEVICE float power2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

DEVICE float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

DEVICE float warpSum(float x) {
  #pragma unroll
  for (int lane = 16; lane; lane >>= 1) x += __shfl_xor_sync(~0u, x, lane);
  return x;
}

DEVICE float warpMax(float x) {
  #pragma unroll
  for (int lane = 16; lane; lane >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, lane));
  return x;
}

DEVICE void copyAsync(u32 to, const void* from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}

DEVICE void prefetch(const void* p) { asm volatile("prefetch.global.L1 [%0];" :: "l"(p)); }

DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
DEVICE void waitForCopies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

// Lane i of four gets word i of all four: 16 consecutive bytes of a row instead of four times 4.
DEVICE void transposeQuad(u32 (&v)[4]) {
  int lane = threadIdx.x % 4;
  #pragma unroll
  for (int i = 0; i < 4; i += 2) {
    u32 received = __shfl_xor_sync(~0u, lane & 1 ? v[i] : v[i + 1], 1);
    if (lane & 1) v[i] = received; else v[i + 1] = received;
  }
  #pragma unroll
  for (int i = 0; i < 2; i++) {
    u32 received = __shfl_xor_sync(~0u, lane & 2 ? v[i] : v[i + 2], 2);
    if (lane & 2) v[i] = received; else v[i + 2] = received;
  }
}

// Tiles that the tensor memory accelerator brings in, and barriers that count their bytes.
struct __align__(64) TensorMap {
  u64 opaque[16];
};

DEVICE void barrierInit(u64* barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(sharedAddress(barrier)), "r"(count));
}

DEVICE void barrierExpect(u64* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(sharedAddress(barrier)), "r"(bytes) : "memory");
}

// The same number, of which the compiler does not know that it is the same each time: what follows from it is found anew instead of
// taking registers.
DEVICE u32 opaque(u32 x) {
  u32 same;
  asm volatile("mov.u32 %0, %1;" : "=r"(same) : "r"(x));
  return same;
}

DEVICE void barrierArrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory");
}
DEVICE void barrierArrive(u64* barrier) { barrierArrive(sharedAddress(barrier)); }

DEVICE void barrierWait(u32 barrier, int phase) {
  u32 done;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
        : "=r"(done) : "r"(barrier), "r"(phase) : "memory");
  } while (!done);
}
DEVICE void barrierWait(u64* barrier, int phase) { barrierWait(sharedAddress(barrier), phase); }

DEVICE void loadTile(u32 to, const TensorMap* map, int column, int row, u64* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
      :: "r"(to), "l"(map), "r"(sharedAddress(barrier)), "r"(column), "r"(row) : "memory");
}

// Bytes in a row, a multiple of 16.
DEVICE void copyBulk(u32 to, const void* from, int bytes, u64* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
               :: "r"(to), "l"(from), "r"(bytes), "r"(sharedAddress(barrier)) : "memory");
}

// The same, into the second-level cache alone.
DEVICE void prefetchBulk(const void* from, int bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" :: "l"(from), "r"(bytes) : "memory");
}

// Shared memory descriptor of a K-major tile with rows of 128 bytes, swizzled by 128 bytes; groups of 8 rows lie 1024
// bytes apart.
DEVICE u64 descriptor(u32 address) {
  return (u64)(address >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// Clusters of blocks.
// Clusters are consecutive blocks. The register that says so would do, but not be known to be the same for a whole warp.
DEVICE u32 clusterRank(int size) { return blockIdx.x % size; }

// All blocks of the cluster have come here, and what they wrote into shared memory is seen by the others.
DEVICE void clusterBarrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Address of another block's copy of a place in shared memory.
DEVICE u32 sharedOf(u32 address, u32 rank) {
  u32 other;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(other) : "r"(address), "r"(rank));
  return other;
}

DEVICE void storeShared4(u32 address, float4 v) {
  asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};"
               :: "r"(address), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w) : "memory");
}
