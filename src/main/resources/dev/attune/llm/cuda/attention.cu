// Attention of packed query rows over keys that are read where they lie, through the key table. A sequence sees its
// whole context, then its own tokens causally, so one kernel serves instruction, document and last blocks and decoding.
// Row r of a KV head is query head r % group of token r / group. Online softmax (Milakov and Gimelshein, arXiv
// 1805.02867) over tiles of 64 keys on tensor cores; parts of a long context are merged by their log-sum-exp.
// Numbers that are int8 arrive in a tile of their own and are scaled into the tile of bf16 that is multiplied.

// Keys of a tile, and keys whose logits a warp holds at once: registers are what is short.
constexpr int KEYS = 64;
constexpr int STEP = 32;

DEVICE void copyAsync(u32 to, const void* from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}

DEVICE void prefetch(const void* p) { asm volatile("prefetch.global.L1 [%0];" :: "l"(p)); }

DEVICE void loadMatrices(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

DEVICE void loadTransposed(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

struct AttentionArgs {
  const bf16* q;             // [row][heads * D], after RoPE
  bf16* out;                 // [row][heads * D]
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
  int mergesToo;             // whether the last block of a tile merges its parts
};

// Byte offset of 16-byte chunk c of row r in a tile; the swizzle keeps ldmatrix free of bank conflicts.
template <int D> DEVICE u32 tileOffset(int r, int c) { return r * (D * 2) + ((c ^ (r & 7)) << 4); }

// Where the keys of a tile lie; requested a tile before the keys are, whose addresses depend on it.
template <int WARPS>
DEVICE void fetchPlaces(const Row* keys, int from, int end, u32 places) {
  for (int r = threadIdx.x; r < KEYS; r += WARPS * 32) copyAsync(places + r * 16, keys + min(from + r, end - 1), true);
}

// Brings keys to k and values to v; int8 ones, as they are, to k8 and v8, [KEYS][D].
template <int D, int WARPS, bool Q8>
DEVICE void fetchTile(
    const AttentionArgs& a, const Row* places, int from, int end, int head, u32 k, u32 v, u32 k8, u32 v8) {
  constexpr int CHUNKS = D / 8;
  u64 block = (u64)(2 * a.layer * a.kvHeads + head);
  #pragma unroll
  for (int i = threadIdx.x; i < KEYS * CHUNKS; i += WARPS * 32) {
    int r = i / CHUNKS, c = i % CHUNKS;
    bool valid = from + r < end;
    Row row = places[r];
    if (Q8 && isInt8(row.segment)) {
      const u8* keys = int8Keys(row.segment, row.capacity, a.layer, head, a.kvHeads, D);
      const u8* values = int8Values(row.segment, row.capacity, a.layer, head, a.kvHeads, D);
      if (c < CHUNKS / 2) {
        copyAsync(k8 + r * D + c * 16, keys + 4 * D + (u64)row.token * D + c * 16, valid);
        copyAsync(v8 + r * D + c * 16, values + 4 * ((row.capacity + 3) & ~3u) + (u64)row.token * D + c * 16, valid);
      } else if (r == 0 || row.token == 0) {
        // The scales are needed when the numbers have arrived.
        prefetch(keys + (c - CHUNKS / 2) * 64);
        if (c == CHUNKS / 2) prefetch(values + row.token * 4);
      }
      continue;
    }
    const bf16* key = (const bf16*)row.segment + (block * row.capacity + row.token) * D + c * 8;
    const bf16* value = key + (u64)a.kvHeads * row.capacity * D;
    copyAsync(k + tileOffset<D>(r, c), key, valid);
    copyAsync(v + tileOffset<D>(r, c), value, valid);
  }
}

// Scales the int8 numbers of a tile that has arrived.
template <int D, int WARPS>
DEVICE void scaleTile(
    const AttentionArgs& a, const Row* places, int from, int end, int head, u8* tiles, const u8* numbers, bool isValue) {
  constexpr int CHUNKS = D / 16;
  for (int i = threadIdx.x; i < KEYS * CHUNKS; i += WARPS * 32) {
    int r = i / CHUNKS, c = i % CHUNKS;
    Row row = places[r];
    if (!isInt8(row.segment)) continue;
    float scales[16];
    if (isValue) {
      const float* at = (const float*)int8Values(row.segment, row.capacity, a.layer, head, a.kvHeads, D);
      float scale = from + r < end ? __ldg(at + row.token) : 0.0f;
      #pragma unroll
      for (int j = 0; j < 16; j++) scales[j] = scale;
    } else {
      const float4* at = (const float4*)int8Keys(row.segment, row.capacity, a.layer, head, a.kvHeads, D) + c * 4;
      #pragma unroll
      for (int j = 0; j < 4; j++) *(float4*)(scales + 4 * j) = __ldg(at + j);
    }
    uint4 packed = *(const uint4*)(numbers + r * D + c * 16);
    u32 words[4] = {packed.x, packed.y, packed.z, packed.w}, out[8];
    #pragma unroll
    for (int j = 0; j < 4; j++) {
      float x[4];
      signedBytes(words[j], x);
      out[2 * j] = packBf16(x[0] * scales[4 * j], x[1] * scales[4 * j + 1]);
      out[2 * j + 1] = packBf16(x[2] * scales[4 * j + 2], x[3] * scales[4 * j + 3]);
    }
    *(uint4*)(tiles + tileOffset<D>(r, 2 * c)) = make_uint4(out[0], out[1], out[2], out[3]);
    *(uint4*)(tiles + tileOffset<D>(r, 2 * c + 1)) = make_uint4(out[4], out[5], out[6], out[7]);
  }
}

DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
DEVICE void waitForCopies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

// The sum of parts of one packed row, each weighted with 2^(its maximum - overall maximum), over the sum of weights;
// warp `share` of `warps` takes every so many parts, so out and the result are shares of the sum. Weights of 32 * CHUNKS
// parts are computed at once, one a lane and chunk.
template <int D, int CHUNKS>
DEVICE void mergeRow(
    const float* partialOut, const float2* partialSums, u64 first, u64 stride, int count, int share, int warps,
    float (&out)[D / 32], float& sum) {
  constexpr int PER = D / 32;
  int lane = threadIdx.x % 32;
  float top = -INFINITE;
  for (int i = lane; i < count; i += 32) top = fmaxf(top, __ldcg(&partialSums[first + i * stride]).x);
  top = warpMax(top);
  sum = 0;
  for (int from = 0; from < count; from += 32 * CHUNKS) {
    float weight[CHUNKS];
    #pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      int i = from + c * 32 + lane;
      float2 part = i < count ? __ldcg(&partialSums[first + i * stride]) : make_float2(-INFINITE, 0);
      weight[c] = power2(part.x - top);
      sum += part.y * weight[c];
    }
    #pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      #pragma unroll 8
      for (int j = share; j < (CHUNKS == 1 ? min(32, count - from) : 32); j += warps) {
        int i = from + c * 32 + j;
        if (CHUNKS > 1 && i >= count) break;
        float w = __shfl_sync(~0u, weight[c], j);
        const float* at = partialOut + (first + i * stride) * D + lane * PER;
        if (PER == 2) {
          float2 v = __ldcg((const float2*)at);
          out[0] += v.x * w;
          out[1] += v.y * w;
        } else {
          float4 v = __ldcg((const float4*)at);
          out[0] += v.x * w;
          out[1] += v.y * w;
          out[PER - 2] += v.z * w;
          out[PER - 1] += v.w * w;
        }
      }
    }
  }
  sum = warpSum(sum);
}

template <int D>
DEVICE void storeMerged(
    bf16* out, int heads, int kvHeads, const Sequence& s, int row, int head, const float (&v)[D / 32], float sum) {
  int group = heads / kvHeads, lane = threadIdx.x % 32;
  float factor = 1.0f / sum;
  bf16* to = out + ((u64)(s.firstRow + row / group) * heads + head * group + row % group) * D + lane * (D / 32);
  #pragma unroll
  for (int i = 0; i < D / 32; i += 2) *(u32*)(to + i) = packBf16(v[i] * factor, v[i + 1] * factor);
}

// MT tiles of 16 rows a warp. Items, sequences and places stay the same for a whole batch, so a block's first are read
// before the kernel before has ended.
template <int D, int MT, int WARPS, bool Q8>
DEVICE void attend(const AttentionArgs& a, AttentionItem item, int head, bool isFirst) {
  extern __shared__ __align__(128) u8 shared[];
  constexpr int TILE = KEYS * D * 2, TILE8 = KEYS * D;
  u32 base = sharedAddress(shared);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
  int group = a.heads / a.kvHeads;
  Sequence s = a.sequences[item.sequence];
  int rows = s.tokens * group;
  int firstRow = item.rowTile * (WARPS * MT * 16);
  int lastToken = min(rows - 1, firstRow + WARPS * MT * 16 - 1) / group;
  int end = min(item.keyEnd, s.contextTokens + lastToken + 1);
  const Row* keys = a.table + s.firstKey;
  // Two stages of keys and values, three of places, two of keys and values in int8.
  Row* places = (Row*)(shared + 4 * TILE);
  u32 placesAt = base + 4 * TILE;
  constexpr int NUMBERS = 4 * TILE + 3 * KEYS * 16;
  __syncthreads();
  if (item.keyBegin < end) fetchPlaces<WARPS>(keys, item.keyBegin, end, placesAt);
  commitCopies();
  waitForCopies();
  if (isFirst) {
    waitForPrevious();
    releaseNext();
  }
  __syncthreads();
  if (item.keyBegin < end) {
    fetchTile<D, WARPS, Q8>(
        a, places, item.keyBegin, end, head, base, base + TILE, base + NUMBERS, base + NUMBERS + TILE8);
    fetchPlaces<WARPS>(keys, item.keyBegin + KEYS, end, placesAt + KEYS * 16);
    commitCopies();
  }

  u32 query[MT][D / 16][4];
  int token[MT][2];
  #pragma unroll
  for (int m = 0; m < MT; m++) {
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      int row = min(firstRow + (warp * MT + m) * 16 + g + h * 8, rows - 1);
      token[m][h] = row / group;
      const bf16* from = a.q + ((u64)(s.firstRow + row / group) * a.heads + head * group + row % group) * D + 2 * q;
      #pragma unroll
      for (int k = 0; k < D / 16; k++) {
        query[m][k][h] = *(const u32*)(from + k * 16);
        query[m][k][h + 2] = *(const u32*)(from + k * 16 + 8);
      }
    }
  }
  float out[MT][D / 8][4];
  float top[MT][2], sum[MT][2];
  #pragma unroll
  for (int m = 0; m < MT; m++) {
    top[m][0] = top[m][1] = -INFINITE;
    sum[m][0] = sum[m][1] = 0;
    #pragma unroll
    for (int d = 0; d < D / 8; d++) out[m][d][0] = out[m][d][1] = out[m][d][2] = out[m][d][3] = 0;
  }

  int stage = 0, slot = 1;
  for (int from = item.keyBegin; from < end; from += KEYS) {
    u32 k = base + stage * 2 * TILE, v = k + TILE;
    u8* arrived = shared + stage * 2 * TILE;
    const u8* numbers = shared + NUMBERS + stage * 2 * TILE8;
    const Row* here = places + (slot == 0 ? 2 : slot - 1) * KEYS;
    stage ^= 1;
    waitForCopies();
    __syncthreads();
    if (from + KEYS < end) {
      u32 next = base + stage * 2 * TILE, next8 = base + NUMBERS + stage * 2 * TILE8;
      fetchTile<D, WARPS, Q8>(
          a, places + slot * KEYS, from + KEYS, end, head, next, next + TILE, next8, next8 + TILE8);
      slot = slot == 2 ? 0 : slot + 1;
      fetchPlaces<WARPS>(keys, from + 2 * KEYS, end, placesAt + slot * KEYS * 16);
      commitCopies();
    }
    if (Q8) {
      scaleTile<D, WARPS>(a, here, from, end, head, arrived, numbers, false);
      scaleTile<D, WARPS>(a, here, from, end, head, arrived + TILE, numbers + TILE8, true);
      __syncthreads();
    }
    #pragma unroll 1
    for (int step = 0; step < KEYS; step += STEP) {
      int at = from + step;
      if (at >= end) break;
      float w[MT][STEP / 8][4];
      #pragma unroll
      for (int m = 0; m < MT; m++)
        #pragma unroll
        for (int n = 0; n < STEP / 8; n++) w[m][n][0] = w[m][n][1] = w[m][n][2] = w[m][n][3] = 0;
      #pragma unroll
      for (int d = 0; d < D / 16; d++) {
        #pragma unroll
        for (int n = 0; n < STEP / 16; n++) {
          u32 b[4];
          // Matrices: keys n*16.. chunk 2d, same keys chunk 2d+1, keys n*16+8.. chunk 2d, those with chunk 2d+1.
          loadMatrices(b, k + tileOffset<D>(step + n * 16 + lane % 8 + (lane / 16) * 8, 2 * d + lane / 8 % 2));
          #pragma unroll
          for (int m = 0; m < MT; m++) {
            mma(w[m][2 * n], query[m][d][0], query[m][d][1], query[m][d][2], query[m][d][3], b[0], b[1]);
            mma(w[m][2 * n + 1], query[m][d][0], query[m][d][1], query[m][d][2], query[m][d][3], b[2], b[3]);
          }
        }
      }
      // Only tiles that reach into the sequence's own tokens, or past the end, hide anything.
      bool masked = at + STEP > min(end, s.contextTokens + firstRow / group);
      #pragma unroll
      for (int m = 0; m < MT; m++) {
        #pragma unroll
        for (int h = 0; h < 2; h++) {
          if (masked) {
            int last = min(end - 1, s.contextTokens + token[m][h]) - at;
            #pragma unroll
            for (int n = 0; n < STEP / 8; n++) {
              if (n * 8 + 2 * q > last) w[m][n][2 * h] = -INFINITE;
              if (n * 8 + 2 * q + 1 > last) w[m][n][2 * h + 1] = -INFINITE;
            }
          }
          float maximum = top[m][h];
          #pragma unroll
          for (int n = 0; n < STEP / 8; n++) maximum = fmaxf(maximum, fmaxf(w[m][n][2 * h], w[m][n][2 * h + 1]));
          maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 1));
          maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 2));
          // A row that sees nothing yet keeps weights of zero.
          float offset = maximum == -INFINITE ? 0.0f : maximum * a.scale;
          float rescale = power2(top[m][h] * a.scale - offset);
          top[m][h] = maximum;
          float total = 0;
          #pragma unroll
          for (int n = 0; n < STEP / 8; n++) {
            w[m][n][2 * h] = power2(w[m][n][2 * h] * a.scale - offset);
            w[m][n][2 * h + 1] = power2(w[m][n][2 * h + 1] * a.scale - offset);
            total += w[m][n][2 * h] + w[m][n][2 * h + 1];
          }
          sum[m][h] = sum[m][h] * rescale + total;
          // Seldom after the first tiles.
          if (__any_sync(~0u, rescale != 1.0f)) {
            #pragma unroll
            for (int d = 0; d < D / 8; d++) {
              out[m][d][2 * h] *= rescale;
              out[m][d][2 * h + 1] *= rescale;
            }
          }
        }
      }
      #pragma unroll
      for (int n = 0; n < STEP / 16; n++) {
        u32 p[MT][4];
        #pragma unroll
        for (int m = 0; m < MT; m++) {
          p[m][0] = packBf16(w[m][2 * n][0], w[m][2 * n][1]);
          p[m][1] = packBf16(w[m][2 * n][2], w[m][2 * n][3]);
          p[m][2] = packBf16(w[m][2 * n + 1][0], w[m][2 * n + 1][1]);
          p[m][3] = packBf16(w[m][2 * n + 1][2], w[m][2 * n + 1][3]);
        }
        #pragma unroll
        for (int d = 0; d < D / 16; d++) {
          u32 b[4];
          // Matrices: keys n*16.. and n*16+8.. of chunk 2d, then of chunk 2d+1.
          loadTransposed(b, v + tileOffset<D>(step + n * 16 + lane % 16, 2 * d + lane / 16));
          #pragma unroll
          for (int m = 0; m < MT; m++) {
            mma(out[m][2 * d], p[m][0], p[m][1], p[m][2], p[m][3], b[0], b[1]);
            mma(out[m][2 * d + 1], p[m][0], p[m][1], p[m][2], p[m][3], b[2], b[3]);
          }
        }
      }
    }
  }

  #pragma unroll
  for (int m = 0; m < MT; m++) {
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      float total = sum[m][h];
      total += __shfl_xor_sync(~0u, total, 1);
      total += __shfl_xor_sync(~0u, total, 2);
      int inTile = (warp * MT + m) * 16 + g + h * 8;
      int row = firstRow + inTile;
      if (row >= rows) continue;
      if (item.partial < 0) {
        float factor = 1.0f / total;
        bf16* to = a.out + ((u64)(s.firstRow + row / group) * a.heads + head * group + row % group) * D + 2 * q;
        #pragma unroll
        for (int d = 0; d < D / 8; d++)
          *(u32*)(to + d * 8) = packBf16(out[m][d][2 * h] * factor, out[m][d][2 * h + 1] * factor);
      } else {
        u64 at = ((u64)item.partial * a.kvHeads + head) * (WARPS * MT * 16) + inTile;
        #pragma unroll
        for (int d = 0; d < D / 8; d++)
          *(float2*)(a.partialOut + at * D + d * 8 + 2 * q) = make_float2(out[m][d][2 * h], out[m][d][2 * h + 1]);
        if (q == 0) a.partialSums[at] = make_float2(top[m][h] * a.scale, total);
      }
    }
  }
  if (WARPS == 1 && item.partial >= 0 && a.mergesToo) {
    __threadfence();
    __syncwarp();
    MergeItem m = a.merges[item.merge];
    u32 before = 0;
    u32* counter = a.arrived + item.merge * a.kvHeads + head;
    if (lane == 0) before = atomicAdd(counter, 1);
    if (__shfl_sync(~0u, before, 0) != m.count - 1) return;
    __threadfence();
    if (lane == 0) *counter = 0;
    u64 stride = (u64)a.kvHeads * 16, first = ((u64)m.firstPartial * a.kvHeads + head) * 16;
    for (int r = 0; r < min(16, rows - firstRow); r++) {
      float merged[D / 32] = {}, weights;
      mergeRow<D, 1>(a.partialOut, a.partialSums, first + r, stride, m.count, 0, 1, merged, weights);
      storeMerged<D>(a.out, a.heads, a.kvHeads, s, firstRow + r, head, merged, weights);
    }
  }
}

// A fixed number of blocks walks over the items, so that a captured graph serves contexts of any length.
#define ATTENTION(NAME, D, WARPS, Q8, BLOCKS)                                                                \
  extern "C" __global__ __launch_bounds__(WARPS * 32, BLOCKS) void NAME(AttentionArgs a) {                   \
    int count = *a.itemCount * a.kvHeads;                                                                    \
    for (int i = blockIdx.x; i < count; i += gridDim.x) {                                                    \
      attend<D, 1, WARPS, Q8>(a, a.items[i / a.kvHeads], i % a.kvHeads, i == blockIdx.x);                    \
    }                                                                                                        \
    if (blockIdx.x >= count) waitForPrevious();                                                              \
  }

// Prefill tiles: 160 and 192 packed rows; decoding tiles: 16.
ATTENTION(attention_64, 64, 10, false, 2)
ATTENTION(attention_128, 128, 12, false, 1)
ATTENTION(attention_64_int8, 64, 10, true, 2)
ATTENTION(attention_128_int8, 128, 12, true, 1)
ATTENTION(attention_64_decode, 64, 1, false, 8)
ATTENTION(attention_128_decode, 128, 1, false, 4)
ATTENTION(attention_64_decode_int8, 64, 1, true, 8)
ATTENTION(attention_128_decode_int8, 128, 1, true, 4)

struct MergeArgs {
  const float* partialOut;
  const float2* partialSums;
  const Sequence* sequences;
  const MergeItem* items;
  const int* itemCount;
  bf16* out;
  int heads;
  int kvHeads;
  int tileRows;
};

// A block of four warps per row.
template <int D> DEVICE void merge(const MergeArgs& a) {
  __shared__ float shares[4][D];
  constexpr int PER = D / 32;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int group = a.heads / a.kvHeads;
  int total = *a.itemCount * a.kvHeads * a.tileRows;
  for (int w = blockIdx.x; w < total; w += gridDim.x) {
    int inTile = w % a.tileRows, head = w / a.tileRows % a.kvHeads;
    MergeItem item = a.items[w / a.tileRows / a.kvHeads];
    Sequence s = a.sequences[item.sequence];
    int row = item.rowTile * a.tileRows + inTile;
    if (w == blockIdx.x) {
      waitForPrevious();
      releaseNext();
    }
    if (row >= s.tokens * group) continue;
    u64 stride = (u64)a.kvHeads * a.tileRows;
    u64 first = ((u64)item.firstPartial * a.kvHeads + head) * a.tileRows + inTile;
    float out[PER] = {}, sum;
    mergeRow<D, 3>(a.partialOut, a.partialSums, first, stride, item.count, warp, 4, out, sum);
    #pragma unroll
    for (int i = 0; i < PER; i++) shares[warp][lane * PER + i] = out[i];
    __syncthreads();
    if (warp == 0) {
      #pragma unroll
      for (int i = 0; i < PER; i++)
        out[i] = shares[0][lane * PER + i] + shares[1][lane * PER + i] + shares[2][lane * PER + i]
            + shares[3][lane * PER + i];
      storeMerged<D>(a.out, a.heads, a.kvHeads, s, row, head, out, sum);
    }
    __syncthreads();
  }
  if (blockIdx.x >= total) waitForPrevious();
}

extern "C" __global__ void merge_64(MergeArgs a) { merge<64>(a); }
extern "C" __global__ void merge_128(MergeArgs a) { merge<128>(a); }
