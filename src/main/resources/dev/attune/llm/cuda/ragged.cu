#include "ragged.cuh"

// Attention over contexts some of whose KV heads have fewer slots than others, or slots that stand for others (compiled for
// HEAD_SIZE, HEADS and KV_HEADS). A block of eight warps takes one token, one KV head and a part of its keys; a few lanes share a
// key, 16 bytes each, and the query heads of the group share what was loaded. Logits, weights and sums are fp32. How many parts
// there are depends on the number of visible keys alone; the block that ends last puts them together.

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

struct RowOf {
  int sequence;
  int token;
};

struct RaggedArgs {
  const bf16* q;                     // [row][HEADS * D], after RoPE
  bf16* out;                         // [row][HEADS * D]
  const Piece* pieces;               // of a sequence [layer][kvHead][span]
  const RaggedSequence* sequences;
  const RowOf* rows;
  const int* parts;                  // most parts that some row has; null when rows are not cut
  float* partialOut;                 // [row][unit][MOST_PARTS][PER][D]
  float2* partialSums;               // [row][unit][MOST_PARTS][PER]: maximum logit, sum of weights
  u32* arrived;                      // [row][unit], zero before and after
  int layer;
  int layers;
  int count;                         // rows
  float scale;                       // 1 / sqrt(D) * log2(e)
};

constexpr int D = HEAD_SIZE, GROUP = HEADS / KV_HEADS;
// Query heads that one block serves, and such units of all heads.
constexpr int PER = GROUP % 4 == 0 ? 4 : GROUP % 3 == 0 ? 3 : GROUP % 2 == 0 ? 2 : 1, UNITS = HEADS / PER;
constexpr int LANES = D / 8, KEYS_A_WARP = 32 / LANES, WARPS = 8, THREADS = 32 * WARPS, AT_ONCE = WARPS * KEYS_A_WARP;
// Keys whose places are known at once, and the fewest of a part.
constexpr int CHUNK = THREADS, MOST_PARTS = 32, HELD = 64;
// Keys that a lane has in flight.
constexpr int AHEAD = 4;
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
    for (int i = 0; i < 4; i++) { x[2 * i] = lowBf16(pairs[i]); x[2 * i + 1] = highBf16(pairs[i]); }
  }
}

DEVICE float weightOf(float top, float overall) { return top == -INFINITE ? 0.0f : power2(top - overall); }

// What a block leaves of its keys, or a row of its parts: PER rows of D, and the sum of weights of each.
struct Shares {
  float out[WARPS][PER][D];
  float tops[WARPS][PER];
  float sums[WARPS][PER];
  float weights[PER][MOST_PARTS];
  float totals[PER];
};

// Two neighbouring numbers of the result.
DEVICE void storePair(const RaggedArgs& a, int row, int unit, int e, float low, float high) {
  *(u32*)(a.out + ((u64)row * HEADS + unit * PER) * D + e) = packBf16(low, high);
}

// Parts of one row and unit, by the whole block.
DEVICE void mergeParts(const RaggedArgs& a, int row, int unit, int count, Shares& shares) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  u64 first = ((u64)row * UNITS + unit) * MOST_PARTS;
  if (warp < PER) {
    float2 part = lane < count ? __ldcg(a.partialSums + (first + lane) * PER + warp) : make_float2(-INFINITE, 0);
    float weight = weightOf(part.x, warpMax(part.x));
    float total = warpSum(part.y * weight);
    shares.weights[warp][lane] = weight;
    if (lane == 0) shares.totals[warp] = total;
  }
  constexpr int QUADS = PER * D / 4, HELPERS = THREADS / QUADS < WARPS ? THREADS / QUADS : WARPS;
  int quad = threadIdx.x % QUADS, helper = threadIdx.x / QUADS;
  float4 parts[MOST_PARTS / HELPERS + 1];
  #pragma unroll
  for (int i = 0; i <= MOST_PARTS / HELPERS; i++) {
    int p = i * HELPERS + helper;
    parts[i] = helper < HELPERS && p < count
        ? __ldcg((const float4*)(a.partialOut + (first + p) * PER * D) + quad) : make_float4(0, 0, 0, 0);
  }
  __syncthreads();
  float* sums = &shares.out[0][0][0];
  if (helper < HELPERS) {
    float4 sum = make_float4(0, 0, 0, 0);
    #pragma unroll
    for (int i = 0; i <= MOST_PARTS / HELPERS; i++) {
      int p = i * HELPERS + helper;
      float w = p < count ? shares.weights[quad * 4 / D][p] : 0.0f;
      sum.x += parts[i].x * w;
      sum.y += parts[i].y * w;
      sum.z += parts[i].z * w;
      sum.w += parts[i].w * w;
    }
    ((float4*)sums)[helper * QUADS + quad] = sum;
  }
  __syncthreads();
  for (int e = 2 * threadIdx.x; e < PER * D; e += 2 * THREADS) {
    float low = 0, high = 0;
    #pragma unroll
    for (int h = 0; h < HELPERS; h++) {
      low += sums[h * PER * D + e];
      high += sums[h * PER * D + e + 1];
    }
    float factor = 1.0f / shares.totals[e / D];
    storePair(a, row, unit, e, low * factor, high * factor);
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 2) void ragged_attention(RaggedArgs a) {
  __shared__ Piece held[HELD];
  __shared__ Key keys[CHUNK];
  __shared__ __align__(16) Shares shares;
  __shared__ bool last;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, inKey = lane % LANES, sub = lane / LANES;
  int most = a.parts ? *a.parts : 1;
  bool waited = false;
  for (int item = blockIdx.x; item < a.count * UNITS * most; item += gridDim.x) {
    int unit = item % UNITS, part = item / UNITS % most, row = item / UNITS / most;
    RowOf of = a.rows[row];
    RaggedSequence s = a.sequences[of.sequence];
    const Piece* pieces = a.pieces + (u64)s.firstSpan * a.layers * KV_HEADS
        + (u64)(a.layer * KV_HEADS + unit * PER / GROUP) * s.spans;
    int visible = pieces[s.spans - 1].first + of.token + 1;
    int length = !a.parts ? visible : ((visible + MOST_PARTS - 1) / MOST_PARTS + CHUNK - 1) / CHUNK * CHUNK;
    int count = (visible + length - 1) / length;
    if (part >= count) continue;
    int end = min((part + 1) * length, visible);
    __syncthreads();
    if (threadIdx.x < min(s.spans, HELD)) held[threadIdx.x] = pieces[threadIdx.x];

    float query[PER][8], out[PER][8] = {}, top[PER], sum[PER] = {}, scales[8] = {};
    const float* scalesOf = nullptr;
    #pragma unroll
    for (int g = 0; g < PER; g++) top[g] = -INFINITE;
    for (int chunk = part * length; chunk < end; chunk += CHUNK) {
      __syncthreads();
      if (chunk + threadIdx.x < end) keys[threadIdx.x] = keyAt(held, pieces, s.spans, chunk + threadIdx.x);
      if (!waited) {
        // Segments of the context and tables are there; queries and the sequence's own keys may not be.
        waitForPrevious();
        releaseNext();
        waited = true;
      }
      if (chunk == part * length) {
        #pragma unroll
        for (int g = 0; g < PER; g++)
          toFloats(__ldcg((const uint4*)(a.q + ((u64)row * HEADS + unit * PER + g) * D) + inKey), false, query[g]);
      }
      __syncthreads();
      int live = min(CHUNK, end - chunk);
      #pragma unroll 1
      for (int step = warp * KEYS_A_WARP; step < live; step += AHEAD * AT_ONCE) {
        uint4 k[AHEAD], v[AHEAD];
        #pragma unroll
        for (int u = 0; u < AHEAD; u++) {
          const Key& key = keys[min(step + u * AT_ONCE + sub, live - 1)];
          k[u] = loadEight(key.key, key.scales, inKey);
          v[u] = loadEight(key.value, key.scales, inKey);
        }
        float w[AHEAD][PER];
        #pragma unroll
        for (int u = 0; u < AHEAD; u++) {
          int at = step + u * AT_ONCE + sub;
          const Key& key = keys[min(at, live - 1)];
          float x[8];
          toFloats(k[u], key.scales, x);
          if (key.scales) {
            if (key.scales != scalesOf) {
              scalesOf = key.scales;
              #pragma unroll
              for (int i = 0; i < 2; i++) *(float4*)(scales + 4 * i) = __ldg((const float4*)scalesOf + 2 * inKey + i);
            }
            #pragma unroll
            for (int i = 0; i < 8; i++) x[i] *= scales[i];
          }
          #pragma unroll
          for (int g = 0; g < PER; g++) {
            float dot = 0;
            #pragma unroll
            for (int i = 0; i < 8; i++) dot += x[i] * query[g][i];
            #pragma unroll
            for (int other = LANES / 2; other; other /= 2) dot += __shfl_xor_sync(~0u, dot, other);
            w[u][g] = at < live ? dot * a.scale + key.bias : -INFINITE;
          }
        }
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
          for (int i = 0; i < 8; i++) out[g][i] *= rescale;
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
            for (int i = 0; i < 8; i++) out[g][i] += x[i] * weight;
          }
        }
      }
    }

    // The lanes' sums of a warp, then those of the warps.
    #pragma unroll
    for (int g = 0; g < PER; g++) {
      float overall = top[g];
      #pragma unroll
      for (int other = LANES; other < 32; other *= 2) overall = fmaxf(overall, __shfl_xor_sync(~0u, overall, other));
      float weight = weightOf(top[g], overall);
      sum[g] *= weight;
      #pragma unroll
      for (int i = 0; i < 8; i++) out[g][i] *= weight;
      #pragma unroll
      for (int other = LANES; other < 32; other *= 2) {
        sum[g] += __shfl_xor_sync(~0u, sum[g], other);
        #pragma unroll
        for (int i = 0; i < 8; i++) out[g][i] += __shfl_xor_sync(~0u, out[g][i], other);
      }
      if (sub == 0) {
        #pragma unroll
        for (int i = 0; i < 8; i++) shares.out[warp][g][inKey * 8 + i] = out[g][i];
      }
      if (lane == 0) {
        shares.tops[warp][g] = overall;
        shares.sums[warp][g] = sum[g];
      }
    }
    __syncthreads();
    u64 place = ((u64)row * UNITS + unit) * MOST_PARTS + part;
    for (int e = 2 * threadIdx.x; e < PER * D; e += 2 * THREADS) {
      int g = e / D;
      float overall = -INFINITE, low = 0, high = 0, total = 0;
      #pragma unroll
      for (int i = 0; i < WARPS; i++) overall = fmaxf(overall, shares.tops[i][g]);
      #pragma unroll
      for (int i = 0; i < WARPS; i++) {
        float weight = weightOf(shares.tops[i][g], overall);
        total += shares.sums[i][g] * weight;
        low += shares.out[i][g][e % D] * weight;
        high += shares.out[i][g][e % D + 1] * weight;
      }
      if (count == 1) {
        float factor = 1.0f / total;
        storePair(a, row, unit, e, low * factor, high * factor);
      } else {
        *(float2*)(a.partialOut + place * PER * D + e) = make_float2(low, high);
        if (e % D == 0) a.partialSums[place * PER + g] = make_float2(overall, total);
      }
    }
    if (count > 1) {
      __threadfence();
      __syncthreads();
      if (threadIdx.x == 0) {
        u32* counter = a.arrived + row * UNITS + unit;
        last = atomicAdd(counter, 1) == count - 1;
        if (last) *counter = 0;
      }
      __syncthreads();
      if (last) {
        __threadfence();
        mergeParts(a, row, unit, count, shares);
      }
    }
  }
  if (!waited) waitForPrevious();
}
