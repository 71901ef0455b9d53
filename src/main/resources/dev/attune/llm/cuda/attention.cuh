// Attention of a few packed query rows, a warp a tile of 16, and the merging of parts of long contexts. Keys are read where they
// lie, through the key table. A sequence sees its whole context, then its own tokens causally. Row r of a KV head is query head
// h * group + r % group of token r / group. Online softmax (Milakov and Gimelshein, arXiv 1805.02867) over tiles of 64 keys on
// tensor cores; parts of a long context are merged by their log-sum-exp.

// Keys whose logits a warp holds at once: registers are what is short.
constexpr int STEP = 32;

DEVICE void loadMatrices(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

DEVICE void loadTransposed(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// Byte offset of 16-byte chunk c of row r in a tile; the swizzle keeps ldmatrix free of bank conflicts.
template <int D> DEVICE u32 tileOffset(int r, int c) { return r * (D * 2) + ((c ^ (r & 7)) << 4); }

// Where the keys of a tile lie; requested a tile before the keys are, whose addresses depend on it.
DEVICE void fetchPlaces(const Row* keys, int from, int end, u32 places) {
  for (int r = threadIdx.x % 32; r < KEYS; r += 32) copyAsync(places + r * 16, keys + min(from + r, end - 1), true);
}

// Brings keys to k and values to v.
template <int D>
DEVICE void fetchTile(
    const AttentionArgs& a, int layer, const Row* places, int from, int end, int head, u32 k, u32 v) {
  constexpr int CHUNKS = D / 8;
  u64 block = (u64)(2 * layer * a.kvHeads + head);
  #pragma unroll
  for (int i = threadIdx.x % 32; i < KEYS * CHUNKS; i += 32) {
    int r = i / CHUNKS, c = i % CHUNKS;
    bool valid = from + r < end;
    Row row = places[r];
    const num16* key = (const num16*)row.segment + (block * row.capacity + row.token) * D + c * 8;
    const num16* value = key + (u64)a.kvHeads * row.capacity * D;
    copyAsync(k + tileOffset<D>(r, c), key, valid);
    copyAsync(v + tileOffset<D>(r, c), value, valid);
  }
}

// Adds a lane's channels of a part to a sum.
template <int D> struct Channels {
  static constexpr int PER = D / 32;
  float v[PER];
  DEVICE void load(const float* at) {
    if (PER == 2) {
      float2 x = __ldcg((const float2*)at);
      v[0] = x.x; v[1] = x.y;
    } else {
      float4 x = __ldcg((const float4*)at);
      v[0] = x.x; v[1] = x.y; v[PER - 2] = x.z; v[PER - 1] = x.w;
    }
  }
};

// The sum of parts of one packed row, each weighted with 2^(its maximum - overall maximum), over the sum of weights. Of SHARES
// warps this one takes every SHARES-th part from `share` on, so out is a share of the sum. All that it loads is requested
// before any of it is used: what takes time is waiting.
template <int D, int SHARES>
DEVICE void mergeRow(
    const float* partialOut, const float2* partialSums, u64 first, u64 stride, int count, int share, float (&out)[D / 32],
    float& sum) {
  constexpr int PER = D / 32, BATCH = D == 64 ? 16 : 8;
  int lane = threadIdx.x % 32;
  float2 part[2];
  auto fetch = [&](int from) {
    #pragma unroll
    for (int c = 0; c < 2; c++) {
      int i = from + c * 32 + lane;
      part[c] = i < count ? __ldcg(&partialSums[first + i * stride]) : make_float2(-INFINITE, 0);
    }
  };
  fetch(0);
  float top = fmaxf(part[0].x, part[1].x);
  for (int i = 64 + lane; i < count; i += 32) top = fmaxf(top, __ldcg(&partialSums[first + i * stride]).x);
  top = warpMax(top);
  sum = 0;
  #pragma unroll 1
  for (int from = 0; from < count; from += 64) {
    if (from > 0) fetch(from);
    float weight[2];
    #pragma unroll
    for (int c = 0; c < 2; c++) {
      weight[c] = power2(part[c].x - top);
      sum += part[c].y * weight[c];
    }
    #pragma unroll
    for (int batch = 0; batch < 64 / SHARES; batch += BATCH) {
      if (from + batch * SHARES >= count) break;
      Channels<D> v[BATCH];
      #pragma unroll
      for (int j = 0; j < BATCH; j++) {
        int i = from + (batch + j) * SHARES + share;
        #pragma unroll
        for (int k = 0; k < PER; k++) v[j].v[k] = 0;
        if (i < count) v[j].load(partialOut + (first + i * stride) * D + lane * PER);
      }
      #pragma unroll
      for (int j = 0; j < BATCH; j++) {
        // Which half a part is in does not depend on the share, as SHARES divides 32.
        float w = __shfl_sync(~0u, weight[(batch + j) * SHARES / 32], ((batch + j) * SHARES + share) % 32);
        #pragma unroll
        for (int k = 0; k < PER; k++) out[k] += v[j].v[k] * w;
      }
    }
  }
  sum = warpSum(sum);
}

template <int D>
DEVICE void storeMerged(
    num16* out, int heads, int kvHeads, const Sequence& s, int row, int head, const float (&v)[D / 32], float sum) {
  int group = heads / kvHeads, lane = threadIdx.x % 32;
  float factor = 1.0f / sum;
  num16* to = out + ((u64)(s.firstRow + row / group) * heads + head * group + row % group) * D + lane * (D / 32);
  #pragma unroll
  for (int i = 0; i < D / 32; i += 2) storeWord(to + i, pack16(v[i] * factor, v[i + 1] * factor));
}

// Four packed rows of up to 16 parts by one warp.
template <int D>
DEVICE void mergeFew(const AttentionArgs& a, const Sequence& s, int row, int head, u64 first, u64 stride, int count) {
  constexpr int PER = D / 32, ROWS_AT_ONCE = 4, BATCH = D == 64 ? 8 : 4;
  int lane = threadIdx.x % 32, live = min(ROWS_AT_ONCE, s.tokens * (a.heads / a.kvHeads) - row);
  float2 part[ROWS_AT_ONCE];
  #pragma unroll
  for (int r = 0; r < ROWS_AT_ONCE; r++)
    part[r] = r < live && lane < count ? __ldcg(&a.partialSums[first + r + lane * stride]) : make_float2(-INFINITE, 0);
  float weight[ROWS_AT_ONCE], out[ROWS_AT_ONCE][PER] = {};
  #pragma unroll
  for (int r = 0; r < ROWS_AT_ONCE; r++) {
    float top = warpMax(part[r].x);
    weight[r] = top == -INFINITE ? 0 : power2(part[r].x - top);
    part[r].y = warpSum(part[r].y * weight[r]);
  }
  #pragma unroll
  for (int batch = 0; batch < 16; batch += BATCH) {
    if (batch >= count) break;
    Channels<D> v[BATCH][ROWS_AT_ONCE];
    #pragma unroll
    for (int j = 0; j < BATCH; j++) {
      #pragma unroll
      for (int r = 0; r < ROWS_AT_ONCE; r++) {
        #pragma unroll
        for (int k = 0; k < PER; k++) v[j][r].v[k] = 0;
        if (batch + j < count && r < live) v[j][r].load(a.partialOut + (first + r + (batch + j) * stride) * D + lane * PER);
      }
    }
    #pragma unroll
    for (int j = 0; j < BATCH; j++) {
      #pragma unroll
      for (int r = 0; r < ROWS_AT_ONCE; r++) {
        float w = __shfl_sync(~0u, weight[r], batch + j);
        #pragma unroll
        for (int k = 0; k < PER; k++) out[r][k] += v[j][r].v[k] * w;
      }
    }
  }
  #pragma unroll
  for (int r = 0; r < ROWS_AT_ONCE; r++)
    if (r < live) storeMerged<D>(a.out, a.heads, a.kvHeads, s, row + r, head, out[r], part[r].y);
}

// One tile of 16 rows by one warp. Items, sequences and places stay the same for a whole batch, so they are read before
// ready(), which waits for the kernel before. Tiles of up to a.few parts are merged by the warp that ends last.
template <int D, typename Ready>
DEVICE void attend(const AttentionArgs& a, int layer, AttentionItem item, int head, u8* shared, Ready ready) {
  constexpr int TILE = KEYS * D * 2;
  u32 base = sharedAddress(shared);
  int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
  int group = a.heads / a.kvHeads;
  Sequence s = a.sequences[item.sequence];
  int rows = s.tokens * group;
  int firstRow = item.rowTile * 16;
  int lastToken = min(rows - 1, firstRow + 16 - 1) / group;
  int end = min(item.keyEnd, s.contextTokens + lastToken + 1);
  const Row* keys = a.table + s.firstKey;
  // Two stages of keys and values, three of places.
  Row* places = (Row*)(shared + 4 * TILE);
  u32 placesAt = base + 4 * TILE;
  __syncwarp();
  if (item.keyBegin < end) fetchPlaces(keys, item.keyBegin, end, placesAt);
  commitCopies();
  waitForCopies();
  ready();
  __syncwarp();
  if (item.keyBegin < end) {
    fetchTile<D>(a, layer, places, item.keyBegin, end, head, base, base + TILE);
    fetchPlaces(keys, item.keyBegin + KEYS, end, placesAt + KEYS * 16);
    commitCopies();
  }

  u32 query[D / 16][4];
  int token[2];
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    int row = min(firstRow + g + h * 8, rows - 1);
    token[h] = row / group;
    const num16* from = a.q + ((u64)(s.firstRow + row / group) * a.heads + head * group + row % group) * D + 2 * q;
    #pragma unroll
    for (int k = 0; k < D / 16; k++) {
      query[k][h] = *(const u32*)(from + k * 16);
      query[k][h + 2] = *(const u32*)(from + k * 16 + 8);
    }
  }
  float out[D / 8][4];
  float top[2], sum[2];
  top[0] = top[1] = -INFINITE;
  sum[0] = sum[1] = 0;
  #pragma unroll
  for (int d = 0; d < D / 8; d++) out[d][0] = out[d][1] = out[d][2] = out[d][3] = 0;

  int stage = 0, slot = 1;
  for (int from = item.keyBegin; from < end; from += KEYS) {
    u32 k = base + stage * 2 * TILE, v = k + TILE;
    stage ^= 1;
    waitForCopies();
    __syncwarp();
    if (from + KEYS < end) {
      u32 next = base + stage * 2 * TILE;
      fetchTile<D>(a, layer, places + slot * KEYS, from + KEYS, end, head, next, next + TILE);
      slot = slot == 2 ? 0 : slot + 1;
      fetchPlaces(keys, from + 2 * KEYS, end, placesAt + slot * KEYS * 16);
      commitCopies();
    }
    #pragma unroll 1
    for (int step = 0; step < KEYS; step += STEP) {
      int at = from + step;
      if (at >= end) break;
      float w[STEP / 8][4];
      #pragma unroll
      for (int n = 0; n < STEP / 8; n++) w[n][0] = w[n][1] = w[n][2] = w[n][3] = 0;
      #pragma unroll
      for (int d = 0; d < D / 16; d++) {
        #pragma unroll
        for (int n = 0; n < STEP / 16; n++) {
          u32 b[4];
          // Matrices: keys n*16.. chunk 2d, same keys chunk 2d+1, keys n*16+8.. chunk 2d, those with chunk 2d+1.
          loadMatrices(b, k + tileOffset<D>(step + n * 16 + lane % 8 + (lane / 16) * 8, 2 * d + lane / 8 % 2));
          mma(w[2 * n], query[d][0], query[d][1], query[d][2], query[d][3], b[0], b[1]);
          mma(w[2 * n + 1], query[d][0], query[d][1], query[d][2], query[d][3], b[2], b[3]);
        }
      }
      // Only tiles that reach into the sequence's own tokens, or past the end, hide anything.
      bool masked = at + STEP > min(end, s.contextTokens + firstRow / group);
      #pragma unroll
      for (int h = 0; h < 2; h++) {
        if (masked) {
          int last = min(end - 1, s.contextTokens + token[h]) - at;
          #pragma unroll
          for (int n = 0; n < STEP / 8; n++) {
            if (n * 8 + 2 * q > last) w[n][2 * h] = -INFINITE;
            if (n * 8 + 2 * q + 1 > last) w[n][2 * h + 1] = -INFINITE;
          }
        }
        float maximum = top[h];
        #pragma unroll
        for (int n = 0; n < STEP / 8; n++) maximum = fmaxf(maximum, fmaxf(w[n][2 * h], w[n][2 * h + 1]));
        maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 1));
        maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 2));
        // A row that sees nothing yet keeps weights of zero.
        float offset = maximum == -INFINITE ? 0.0f : maximum * a.scale;
        float rescale = power2(top[h] * a.scale - offset);
        top[h] = maximum;
        float total = 0;
        #pragma unroll
        for (int n = 0; n < STEP / 8; n++) {
          w[n][2 * h] = power2(w[n][2 * h] * a.scale - offset);
          w[n][2 * h + 1] = power2(w[n][2 * h + 1] * a.scale - offset);
          total += w[n][2 * h] + w[n][2 * h + 1];
        }
        sum[h] = sum[h] * rescale + total;
        // Seldom after the first tiles.
        if (__any_sync(~0u, rescale != 1.0f)) {
          #pragma unroll
          for (int d = 0; d < D / 8; d++) {
            out[d][2 * h] *= rescale;
            out[d][2 * h + 1] *= rescale;
          }
        }
      }
      #pragma unroll
      for (int n = 0; n < STEP / 16; n++) {
        u32 p[4];
        p[0] = pack16(w[2 * n][0], w[2 * n][1]);
        p[1] = pack16(w[2 * n][2], w[2 * n][3]);
        p[2] = pack16(w[2 * n + 1][0], w[2 * n + 1][1]);
        p[3] = pack16(w[2 * n + 1][2], w[2 * n + 1][3]);
        #pragma unroll
        for (int d = 0; d < D / 16; d++) {
          u32 b[4];
          // Matrices: keys n*16.. and n*16+8.. of chunk 2d, then of chunk 2d+1.
          loadTransposed(b, v + tileOffset<D>(step + n * 16 + lane % 16, 2 * d + lane / 16));
          mma(out[2 * d], p[0], p[1], p[2], p[3], b[0], b[1]);
          mma(out[2 * d + 1], p[0], p[1], p[2], p[3], b[2], b[3]);
        }
      }
    }
  }

  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = sum[h];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    int inTile = g + h * 8;
    int row = firstRow + inTile;
    if (row >= rows) continue;
    if (item.partial < 0) {
      float factor = 1.0f / total;
      num16* to = a.out + ((u64)(s.firstRow + row / group) * a.heads + head * group + row % group) * D + 2 * q;
      #pragma unroll
      for (int d = 0; d < D / 8; d++)
        *(u32*)(to + d * 8) = pack16(out[d][2 * h] * factor, out[d][2 * h + 1] * factor);
    } else {
      u64 at = ((u64)item.partial * a.kvHeads + head) * 16 + inTile;
      #pragma unroll
      for (int d = 0; d < D / 8; d++)
        *(float2*)(a.partialOut + at * D + d * 8 + 2 * q) = make_float2(out[d][2 * h], out[d][2 * h + 1]);
      if (q == 0) a.partialSums[at] = make_float2(top[h] * a.scale, total);
    }
  }
  if (item.partial >= 0) {
    MergeItem m = a.merges[item.merge];
    if (m.count > a.few) return;
    __threadfence();
    __syncwarp();
    u32 before = 0;
    u32* counter = a.arrived + item.merge * a.kvHeads + head;
    if (lane == 0) before = atomicAdd(counter, 1);
    if (__shfl_sync(~0u, before, 0) != m.count - 1) return;
    __threadfence();
    if (lane == 0) *counter = 0;
    u64 stride = (u64)a.kvHeads * 16, first = ((u64)m.firstPartial * a.kvHeads + head) * 16;
    for (int r = 0; r < min(16, rows - firstRow); r += 4) mergeFew<D>(a, s, firstRow + r, head, first + r, stride, m.count);
  }
}

struct MergeArgs {
  const float* partialOut;
  const float2* partialSums;
  const Sequence* sequences;
  const MergeItem* items;
  const int* itemCount;
  num16* out;
  int heads;
  int kvHeads;
  int tileRows;
  int few;           // tiles of no more parts have been merged
};
