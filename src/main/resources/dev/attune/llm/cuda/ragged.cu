#include "ragged.cuh"

// Attention over contexts some of whose KV heads have fewer slots than others, or slots that stand for others (compiled for
// HEAD_SIZE, HEADS, KV_HEADS, PER and CLUSTER). A cluster of blocks takes one token and PER query heads of one KV head; its
// blocks share the keys out and put what they have together through shared memory. Several clusters share long heads; of each
// rank the block that ends last puts together what they have. A few lanes share a key, 16 bytes each, and the query heads share
// what was loaded. Logits, weights and sums are fp32. How keys are shared out depends on their number alone.

// Spans [firstSpan, firstSpan + spans) of a sequence, the last of which are its own tokens.
struct RaggedSequence {
  int firstSpan;
  int spans;
};

// The slots of one KV head in one layer of a span; `first` of them come before.
struct Piece {
  Block block;
  int first;
  int int8;
};

// A row's spans, as of its sequence, and which of the sequence's tokens it is.
struct RowOf {
  int firstSpan;
  int spans;
  int token;
  int padding;
};

struct RaggedArgs {
  const num16* q;                     // [row][HEADS * D], after RoPE
  num16* out;                         // [row][HEADS * D]
  const Piece* pieces;               // of a sequence [layer][kvHead][span]
  const RowOf* rows;
  float4* parts;                     // [row][unit][MOST_PARTS][pair of numbers]: the pair, maximum logit, sum of weights
  u32* arrived;                      // [row][unit][rank], zero before and after
  int layer;
  int layers;
  int count;                         // rows
  float scale;                       // 1 / sqrt(D) * log2(e)
};

// A cluster serves PER query heads; UNITS clusters serve all.
constexpr int D = HEAD_SIZE, GROUP = HEADS / KV_HEADS, UNITS = HEADS / PER;
constexpr int LANES = D / 8, KEYS_A_WARP = 32 / LANES, WARPS = 8, THREADS = 32 * WARPS, AT_ONCE = WARPS * KEYS_A_WARP;
// Keys whose places are known at once, pieces held in shared memory, and keys that a lane has in flight.
constexpr int CHUNK = 2 * THREADS, HELD = 64, AHEAD = CLUSTER > 1 ? 4 : 2;
// Clusters that share a head, and keys of a cluster of a head that is shared by fewer.
constexpr int MOST_PARTS = 8, PART = 1024;
constexpr float LOG2_E = 1.4426950408889634f;

// Pieces of all sequences, layers and heads: a warp for each head and layer, y the sequence.
extern "C" __global__ __launch_bounds__(256) void ragged_pieces(
    const RaggedSequence* sequences, const Span* spans, Piece* pieces, int layers) {
  int at = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (at >= layers * KV_HEADS) return;
  RaggedSequence s = sequences[blockIdx.y];
  Piece* to = pieces + (u64)s.firstSpan * layers * KV_HEADS + (u64)at * s.spans;
  int before = 0;
  for (int from = 0; from < s.spans; from += 32) {
    int i = from + lane;
    Piece piece = {};
    if (i < s.spans) {
      Span span = spans[s.firstSpan + i];
      piece.block = blockOf(span.segment, span.capacity, at / KV_HEADS, at % KV_HEADS, KV_HEADS);
      piece.int8 = isInt8(span.segment);
    }
    int end = piece.block.slots;
    #pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      int other = __shfl_up_sync(~0u, end, step);
      if (lane >= step) end += other;
    }
    piece.first = before + end - piece.block.slots;
    if (i < s.spans) to[i] = piece;
    before += __shfl_sync(~0u, end, 31);
  }
}

// Where one key is.
struct Key {
  u64 key;
  u64 value;
  const float* scales;   // of the channels of an int8 key, else null
  float bias;            // times log2(e)
  float valueScale;
};

DEVICE Key keyAt(const Piece* held, const Piece* pieces, int count, int at) {
  int low = 0, high = count - 1;
  // The last piece that begins at or before the key: empty ones begin where the next one does.
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if ((middle < HELD ? held[middle].first : pieces[middle].first) <= at) low = middle; else high = middle - 1;
  }
  Piece p = low < HELD ? held[low] : pieces[low];
  int slot = at - p.first, bytes = p.int8 ? D : 2 * D;
  Key key;
  key.key = keyNumbers(p.block, p.int8) + (u64)slot * bytes;
  key.value = valueNumbers(p.block, p.int8) + (u64)slot * bytes;
  key.scales = p.int8 ? keyScales(p.block) : nullptr;
  key.bias = slot < p.block.biased ? ((const float*)p.block.keys)[slot] * LOG2_E : 0.0f;
  key.valueScale = p.int8 ? ((const float*)p.block.values)[slot] : 1.0f;
  return key;
}

// Eight numbers of a row, from the lane's eighth number on.
DEVICE uint4 loadEight(u64 row, bool int8, int lane) {
  if (int8) {
    uint2 v = __ldcg((const uint2*)(row + 8 * lane));
    return make_uint4(v.x, v.y, 0, 0);
  }
  return __ldcg((const uint4*)(row + 16 * lane));
}

DEVICE void toFloats(uint4 v, bool int8, float (&x)[8]) {
  if (int8) {
    float low[4], high[4];
    signedBytes(v.x, low);
    signedBytes(v.y, high);
    #pragma unroll
    for (int i = 0; i < 4; i++) { x[i] = low[i]; x[i + 4] = high[i]; }
  } else {
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int i = 0; i < 4; i++) { x[2 * i] = low16(pairs[i]); x[2 * i + 1] = high16(pairs[i]); }
  }
}

DEVICE float weightOf(float top, float overall) { return top == -INFINITE ? 0.0f : power2(top - overall); }

// What a block leaves of its keys: PER rows of D, and the sum of weights of each, first warp by warp.
struct Shares {
  float out[WARPS][PER][D];
  float tops[WARPS][PER];
  float sums[WARPS][PER];
};

// A pair of numbers with its maximum logit and sum of weights, of what several have of it.
template <int MOST, typename Load> DEVICE float4 together(int count, Load load) {
  float4 part[MOST];
  float overall = -INFINITE;
  #pragma unroll
  for (int i = 0; i < MOST; i++) {
    part[i] = i < count ? load(i) : make_float4(0, 0, -INFINITE, 0);
    overall = fmaxf(overall, part[i].z);
  }
  float4 sum = make_float4(0, 0, overall, 0);
  #pragma unroll
  for (int i = 0; i < MOST; i++) {
    float weight = weightOf(part[i].z, overall);
    sum.x += part[i].x * weight;
    sum.y += part[i].y * weight;
    sum.w += part[i].w * weight;
  }
  return sum;
}

DEVICE void storePair(const RaggedArgs& a, int row, int unit, int e, float low, float high, float total) {
  float factor = 1.0f / total;
  *(u32*)(a.out + ((u64)row * HEADS + unit * PER) * D + e) = pack16(low * factor, high * factor);
}

extern "C" __global__ __launch_bounds__(THREADS, CLUSTER == 1 ? 2 : 1) __cluster_dims__(CLUSTER) void ragged_attention(
    RaggedArgs a) {
  __shared__ Piece held[HELD];
  __shared__ Key keys[CHUNK];
  __shared__ __align__(16) Shares shares;
  __shared__ bool last;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, inKey = lane % LANES, sub = lane / LANES;
  int unit = blockIdx.x / CLUSTER % UNITS, row = blockIdx.x / CLUSTER / UNITS % a.count;
  int part = blockIdx.x / CLUSTER / UNITS / a.count, rank = CLUSTER == 1 ? 0 : clusterRank(CLUSTER);
  RowOf of = a.rows[row];
  const Piece* pieces = a.pieces + (u64)of.firstSpan * a.layers * KV_HEADS
      + (u64)(a.layer * KV_HEADS + unit * PER / GROUP) * of.spans;
  if (threadIdx.x < min(of.spans, HELD)) held[threadIdx.x] = pieces[threadIdx.x];
  __syncthreads();
  // The sequence's own keys, which the kernel before may not have written yet, are the last.
  int own = of.spans <= HELD ? held[of.spans - 1].first : pieces[of.spans - 1].first, visible = own + of.token + 1;
  int count = CLUSTER == 1 ? 1 : min((visible + PART - 1) / PART, MOST_PARTS);
  // Another cluster waits for the kernel before.
  if (part >= count) return;
  int blocks = count * CLUSTER, length = ((visible + blocks - 1) / blocks + 7) & ~7;
  int begin = (part * CLUSTER + rank) * length, end = min(begin + length, visible);

  float query[PER][8], out[PER][8] = {}, top[PER], sum[PER] = {}, scales[8] = {};
  const float* scalesOf = nullptr;
  uint4 k[AHEAD], v[AHEAD];
  #pragma unroll
  for (int g = 0; g < PER; g++) top[g] = -INFINITE;
  #pragma unroll 1
  for (int chunk = begin; chunk == begin || chunk < end; chunk += CHUNK) {
    int live = min(CHUNK, end - chunk);
    __syncthreads();
    for (int i = threadIdx.x; i < live; i += THREADS) keys[i] = keyAt(held, pieces, of.spans, chunk + i);
    __syncthreads();
    auto load = [&](int step, int from, int to, bool value, uint4 (&x)[AHEAD]) {
      #pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        int i = step + u * AT_ONCE + sub;
        // What is multiplied by a weight of zero must be a number.
        if (i >= live) x[u] = make_uint4(0, 0, 0, 0);
        else if (chunk + i >= from && chunk + i < to)
          x[u] = loadEight(value ? keys[i].value : keys[i].key, keys[i].scales, inKey);
      }
    };
    int first = warp * KEYS_A_WARP;
    if (chunk == begin) {
      // Nobody may write into the shared memory of a block that has not begun.
      if (CLUSTER > 1) clusterBarrier();
      // The context's keys are there: only queries and own keys have to be waited for.
      load(first, 0, own, false, k);
      load(first, 0, own, true, v);
      waitForPrevious();
      releaseNext();
      #pragma unroll
      for (int g = 0; g < PER; g++)
        toFloats(__ldcg((const uint4*)(a.q + ((u64)row * HEADS + unit * PER + g) * D) + inKey), false, query[g]);
      if (own < end) {
        load(first, own, end, false, k);
        load(first, own, end, true, v);
      }
    } else {
      load(first, 0, end, false, k);
      load(first, 0, end, true, v);
    }
    #pragma unroll 1
    for (int step = first; step < live; step += AHEAD * AT_ONCE) {
      float w[AHEAD][PER];
      #pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        int i = step + u * AT_ONCE + sub;
        const Key& key = keys[min(i, live - 1)];
        float x[8];
        toFloats(k[u], key.scales, x);
        if (key.scales) {
          if (key.scales != scalesOf) {
            scalesOf = key.scales;
            #pragma unroll
            for (int j = 0; j < 2; j++) *(float4*)(scales + 4 * j) = __ldg((const float4*)scalesOf + 2 * inKey + j);
          }
          #pragma unroll
          for (int j = 0; j < 8; j++) x[j] *= scales[j];
        }
        #pragma unroll
        for (int g = 0; g < PER; g++) {
          float dot = 0;
          #pragma unroll
          for (int j = 0; j < 8; j++) dot += x[j] * query[g][j];
          #pragma unroll
          for (int other = LANES / 2; other; other /= 2) dot += __shfl_xor_sync(~0u, dot, other);
          w[u][g] = i < live ? dot * a.scale + key.bias : -INFINITE;
        }
      }
      int next = step + AHEAD * AT_ONCE;
      load(next, 0, end, false, k);
      #pragma unroll
      for (int g = 0; g < PER; g++) {
        float maximum = top[g];
        #pragma unroll
        for (int u = 0; u < AHEAD; u++) maximum = fmaxf(maximum, w[u][g]);
        float offset = maximum == -INFINITE ? 0.0f : maximum, rescale = power2(top[g] - offset);
        top[g] = maximum;
        sum[g] *= rescale;
        #pragma unroll
        for (int u = 0; u < AHEAD; u++) {
          w[u][g] = power2(w[u][g] - offset);
          sum[g] += w[u][g];
        }
        #pragma unroll
        for (int j = 0; j < 8; j++) out[g][j] *= rescale;
      }
      #pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        const Key& key = keys[min(step + u * AT_ONCE + sub, live - 1)];
        float x[8];
        toFloats(v[u], key.scales, x);
        #pragma unroll
        for (int g = 0; g < PER; g++) {
          float weight = w[u][g] * key.valueScale;
          #pragma unroll
          for (int j = 0; j < 8; j++) out[g][j] += x[j] * weight;
        }
      }
      load(next, 0, end, true, v);
    }
  }

  // The sums of a warp's lanes, then of the warps, then of the cluster's blocks.
  #pragma unroll
  for (int g = 0; g < PER; g++) {
    float overall = top[g];
    #pragma unroll
    for (int other = LANES; other < 32; other *= 2) overall = fmaxf(overall, __shfl_xor_sync(~0u, overall, other));
    float weight = weightOf(top[g], overall);
    sum[g] *= weight;
    #pragma unroll
    for (int j = 0; j < 8; j++) out[g][j] *= weight;
    #pragma unroll
    for (int other = LANES; other < 32; other *= 2) {
      sum[g] += __shfl_xor_sync(~0u, sum[g], other);
      #pragma unroll
      for (int j = 0; j < 8; j++) out[g][j] += __shfl_xor_sync(~0u, out[g][j], other);
    }
    if (sub == 0) {
      #pragma unroll
      for (int j = 0; j < 8; j++) shares.out[warp][g][inKey * 8 + j] = out[g][j];
    }
    if (lane == 0) {
      shares.tops[warp][g] = overall;
      shares.sums[warp][g] = sum[g];
    }
  }
  __syncthreads();
  constexpr int PAIRS = PER * D / 2;
  float low = 0, high = 0, total = 0, overall = -INFINITE;
  int e = 2 * threadIdx.x, g = min(e / D, PER - 1);
  static_assert(PAIRS <= THREADS, "a thread has two numbers");
  #pragma unroll
  for (int i = 0; i < WARPS; i++) overall = fmaxf(overall, shares.tops[i][g]);
  #pragma unroll
  for (int i = 0; i < WARPS; i++) {
    float weight = weightOf(shares.tops[i][g], overall);
    total += shares.sums[i][g] * weight;
    low += shares.out[i][g][e % D] * weight;
    high += shares.out[i][g][e % D + 1] * weight;
  }
  if (CLUSTER == 1) {
    if (threadIdx.x < PAIRS) storePair(a, row, unit, e, low, high, total);
    return;
  }
  // Each block stores some of the pairs, and the others tell it what they have of them.
  constexpr int OF_BLOCK = PAIRS / CLUSTER;
  __shared__ __align__(16) float4 shared[CLUSTER][OF_BLOCK];
  if (threadIdx.x < PAIRS) {
    u32 to = sharedOf(sharedAddress(&shared[rank][threadIdx.x % OF_BLOCK]), threadIdx.x / OF_BLOCK);
    storeShared4(to, make_float4(low, high, overall, total));
  }
  __syncwarp();
  clusterBarrier();
  u64 rowAndUnit = (u64)row * UNITS + unit;
  int pair = rank * OF_BLOCK + threadIdx.x;
  if (threadIdx.x < OF_BLOCK) {
    float4 sum = together<CLUSTER>(CLUSTER, [&](int i) { return shared[i][threadIdx.x]; });
    if (count == 1) storePair(a, row, unit, 2 * pair, sum.x, sum.y, sum.w);
    else a.parts[(rowAndUnit * MOST_PARTS + part) * PAIRS + pair] = sum;
  }
  if (count == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    u32* counter = a.arrived + rowAndUnit * CLUSTER + rank;
    last = atomicAdd(counter, 1) == count - 1;
    if (last) *counter = 0;
  }
  __syncthreads();
  if (!last || threadIdx.x >= OF_BLOCK) return;
  __threadfence();
  // Other blocks wrote them: not from the first-level cache.
  float4 whole = together<MOST_PARTS>(
      count, [&](int i) { return __ldcg(a.parts + (rowAndUnit * MOST_PARTS + i) * PAIRS + pair); });
  storePair(a, row, unit, 2 * pair, whole.x, whole.y, whole.w);
}
