// Passes over activations that are not fused into a product.

// x[row] = embedding[tokens[row]]; also in fp32 when x32 is given, zeros when low is, and the sum of squares of each row
// when squares is.
extern "C" __global__ void embed(
    const int* tokens, const bf16* embedding, bf16* x, float* x32, bf16* low, float* squares, int rows, int hidden) {
  waitForPrevious();
  releaseNext();
  __shared__ float parts[32];
  int row = blockIdx.x;
  const bf16* from = embedding + (u64)tokens[row] * hidden;
  float sum = 0;
  for (int i = threadIdx.x * 8; i < hidden; i += blockDim.x * 8) {
    uint4 v = *(const uint4*)(from + i);
    *(uint4*)(x + (u64)row * hidden + i) = v;
    if (low) *(uint4*)(low + (u64)row * hidden + i) = make_uint4(0, 0, 0, 0);
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int j = 0; j < 4; j++) {
      float low = lowBf16(pairs[j]), high = highBf16(pairs[j]);
      sum += low * low + high * high;
      if (x32) {
        x32[(u64)row * hidden + i + 2 * j] = low;
        x32[(u64)row * hidden + i + 2 * j + 1] = high;
      }
    }
  }
  if (squares) {
    sum = warpSum(sum);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      float total = 0;
      for (int i = 0; i < blockDim.x / 32; i++) total += parts[i];
      squares[row] = total;
    }
  }
}

// normed = x / sqrt(mean(x^2) + epsilon): the norm's weights are folded into the product that follows.
extern "C" __global__ void rms_norm(const bf16* x, bf16* normed, int hidden, float epsilon) {
  __shared__ float parts[32];
  u64 row = (u64)blockIdx.x * hidden;
  float sum = 0;
  for (int i = threadIdx.x * 8; i < hidden; i += blockDim.x * 8) {
    uint4 v = *(const uint4*)(x + row + i);
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int j = 0; j < 4; j++) {
      float low = lowBf16(pairs[j]), high = highBf16(pairs[j]);
      sum += low * low + high * high;
    }
  }
  sum = warpSum(sum);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < blockDim.x / 32; i++) total += parts[i];
  float scale = rsqrtf(total / hidden + epsilon);
  for (int i = threadIdx.x * 8; i < hidden; i += blockDim.x * 8) {
    uint4 v = *(const uint4*)(x + row + i);
    v.x = packBf16(lowBf16(v.x) * scale, highBf16(v.x) * scale);
    v.y = packBf16(lowBf16(v.y) * scale, highBf16(v.y) * scale);
    v.z = packBf16(lowBf16(v.z) * scale, highBf16(v.z) * scale);
    v.w = packBf16(lowBf16(v.w) * scale, highBf16(v.w) * scale);
    *(uint4*)(normed + row + i) = v;
  }
}

// Rotates queries and keys of qkv [row][all][headSize], which holds heads queries, kvHeads keys and the rest values;
// queries go to q, keys and values to their segment. A block per row, a thread per pair of dimensions.
extern "C" __global__ void rope_keep(
    const bf16* qkv, bf16* q, const Row* rows, const int* positions, const float2* rope, int layer, int heads,
    int kvHeads, int all, int headSize) {
  int row = blockIdx.x;
  int half = headSize / 2;
  Row place = rows[row];
  const bf16* from = qkv + (u64)row * all * headSize;
  for (int i = threadIdx.x; i < all * half; i += blockDim.x) {
    int head = i / half, d = i % half;
    float a = fromBf16(from[head * headSize + d]), b = fromBf16(from[head * headSize + d + half]);
    if (head < heads + kvHeads) {
      float2 turn = rope[(u64)positions[row] * half + d];
      float a1 = a * turn.x - b * turn.y;
      b = b * turn.x + a * turn.y;
      a = a1;
    }
    bf16* to;
    if (head < heads) {
      to = q + ((u64)row * heads + head) * headSize;
    } else {
      if (!place.segment) continue;
      int block = 2 * layer * kvHeads + head - heads;
      to = (bf16*)place.segment + ((u64)block * place.capacity + place.token) * headSize;
    }
    to[d] = toBf16(a);
    to[d + half] = toBf16(b);
  }
}

// inner[row][f] = silu(gate) * up; gate and up alternate in groups of eight columns of gateUp [row][2 * width].
extern "C" __global__ void swiglu(const bf16* gateUp, bf16* inner, u64 groups, int width) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= groups) return;
  uint4 g = *(const uint4*)(gateUp + i * 16), u = *(const uint4*)(gateUp + i * 16 + 8);
  uint4 r;
  r.x = packBf16(silu(lowBf16(g.x)) * lowBf16(u.x), silu(highBf16(g.x)) * highBf16(u.x));
  r.y = packBf16(silu(lowBf16(g.y)) * lowBf16(u.y), silu(highBf16(g.y)) * highBf16(u.y));
  r.z = packBf16(silu(lowBf16(g.z)) * lowBf16(u.z), silu(highBf16(g.z)) * highBf16(u.z));
  r.w = packBf16(silu(lowBf16(g.w)) * lowBf16(u.w), silu(highBf16(g.w)) * highBf16(u.w));
  *(uint4*)(inner + i * 8) = r;
}

// A row of the key table for every token of every span.
extern "C" __global__ void build_table(const Span* spans, Row* table) {
  Span span = spans[blockIdx.x];
  for (int i = threadIdx.x; i < span.tokens; i += blockDim.x) {
    Row row;
    row.segment = span.segment;
    row.token = i;
    row.capacity = span.capacity;
    table[span.firstKey + i] = row;
  }
}

// Adds b [outputs][rank] . a [rank][inputs], times the norm's weights where there are any, to a matrix whose rows lie in
// groups of eight, groupRows apart. A block per output.
extern "C" __global__ void add_low_rank(
    bf16* matrix, const float* a, const float* b, const float* norm, int inputs, int rank, int groupRows) {
  int output = blockIdx.x;
  bf16* row = matrix + (u64)(output / 8 * groupRows + output % 8) * inputs;
  for (int i = threadIdx.x; i < inputs; i += blockDim.x) {
    float sum = 0;
    for (int r = 0; r < rank; r++) sum += b[(u64)output * rank + r] * a[(u64)r * inputs + i];
    row[i] = toBf16(fromBf16(row[i]) + (norm ? sum * norm[i] : sum));
  }
}

// A slot of one of several segments.
struct Slot {
  int part;
  int slot;
};

// Chosen slots of segments become one: block x of the result, slots from 64 * blockIdx.y on, eight numbers a thread. Into int8
// only from one segment, which keeps its numbers and scales; from int8 into bf16 they are scaled.
extern "C" __global__ void gather_slots(
    const Span* parts, const Slot* slots, int count, u64 whole, int kvHeads, int d) {
  int layer = blockIdx.x / kvHeads / 2, value = blockIdx.x / kvHeads % 2, head = blockIdx.x % kvHeads;
  int chunks = d / 8, end = min(count, 64 * (int)blockIdx.y + 64);
  for (int i = 64 * blockIdx.y * chunks + threadIdx.x; i < end * chunks; i += blockDim.x) {
    int to = i / chunks, at = i % chunks * 8;
    Span part = parts[slots[to].part];
    int slot = slots[to].slot, scales = value ? (part.capacity + 3) & ~3 : d;
    if (!isInt8(part.segment)) {
      const bf16* from = (const bf16*)part.segment + ((u64)blockIdx.x * part.capacity + slot) * d + at;
      *(uint4*)((bf16*)whole + ((u64)blockIdx.x * count + to) * d + at) = *(const uint4*)from;
      continue;
    }
    const u8* block = value ? int8Values(part.segment, part.capacity, layer, head, kvHeads, d)
                            : int8Keys(part.segment, part.capacity, layer, head, kvHeads, d);
    const float* scale = (const float*)block;
    uint2 numbers = *(const uint2*)(block + 4 * scales + (u64)slot * d + at);
    if (isInt8(whole)) {
      u8* target = (u8*)(value ? int8Values(whole, count, layer, head, kvHeads, d)
                               : int8Keys(whole, count, layer, head, kvHeads, d));
      *(uint2*)(target + 4 * (value ? (count + 3) & ~3 : d) + (u64)to * d + at) = numbers;
      if (value && at == 0) ((float*)target)[to] = scale[slot];
      if (!value && to == 0)
        for (int j = 0; j < 8; j++) ((float*)target)[at + j] = scale[at + j];
    } else {
      float low[4], high[4];
      signedBytes(numbers.x, low);
      signedBytes(numbers.y, high);
      float x[8] = {low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]};
      for (int j = 0; j < 8; j++) x[j] *= scale[value ? slot : at + j];
      *(uint4*)((bf16*)whole + ((u64)blockIdx.x * count + to) * d + at) =
          make_uint4(packBf16(x[0], x[1]), packBf16(x[2], x[3]), packBf16(x[4], x[5]), packBf16(x[6], x[7]));
    }
  }
}

DEVICE u8 quantised(float x) { return (u8)max(-127, min(127, __float2int_rn(x))); }

// Block x of a segment in bf16, as int8 into another: keys with a scale a channel, values with one a slot, the largest
// number becoming 127. 256 threads.
extern "C" __global__ __launch_bounds__(256) void quantise(u64 from, u64 to, int slots, int kvHeads, int d) {
  __shared__ float largest[256];
  int layer = blockIdx.x / kvHeads / 2, value = blockIdx.x / kvHeads % 2, head = blockIdx.x % kvHeads;
  const bf16* numbers = (const bf16*)from + (u64)blockIdx.x * slots * d;
  u8* block = (u8*)(value ? int8Values(to, slots, layer, head, kvHeads, d) : int8Keys(to, slots, layer, head, kvHeads, d));
  float* scales = (float*)block;
  u8* out = block + 4 * (value ? (slots + 3) & ~3 : d);
  if (value) {
    int lane = threadIdx.x % 32;
    for (int s = threadIdx.x / 32; s < slots; s += 8) {
      float top = 0;
      for (int i = lane; i < d; i += 32) top = fmaxf(top, fabsf(fromBf16(numbers[(u64)s * d + i])));
      float scale = warpMax(top) / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
      if (lane == 0) scales[s] = scale;
      for (int i = lane; i < d; i += 32) out[(u64)s * d + i] = quantised(fromBf16(numbers[(u64)s * d + i]) * inverse);
    }
    return;
  }
  int channel = threadIdx.x % d, groups = 256 / d, group = threadIdx.x / d;
  float top = 0;
  for (int s = group; s < slots; s += groups) top = fmaxf(top, fabsf(fromBf16(numbers[(u64)s * d + channel])));
  largest[threadIdx.x] = top;
  __syncthreads();
  for (int g = 0; g < groups; g++) top = fmaxf(top, largest[g * d + channel]);
  float scale = top / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  if (group == 0) scales[channel] = scale;
  for (int s = group; s < slots; s += groups)
    out[(u64)s * d + channel] = quantised(fromBf16(numbers[(u64)s * d + channel]) * inverse);
}

DEVICE u32 packE4m3(float a, float b, float c, float d) {
  unsigned short low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
  return low | (u32)high << 16;
}

// Rows of a matrix as E4M3 with a scale a row, the largest number becoming 448, the largest there is. 256 threads a row.
extern "C" __global__ __launch_bounds__(256) void quantise_rows(const bf16* from, u8* to, float* scales, int columns) {
  __shared__ float largest[8];
  waitForPrevious();
  releaseNext();
  const bf16* row = from + (u64)blockIdx.x * columns;
  float top = 0;
  for (int i = threadIdx.x * 8; i < columns; i += 2048) {
    uint4 v = *(const uint4*)(row + i);
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int j = 0; j < 4; j++) top = fmaxf(top, fmaxf(fabsf(lowBf16(pairs[j])), fabsf(highBf16(pairs[j]))));
  }
  top = warpMax(top);
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = top;
  __syncthreads();
  #pragma unroll
  for (int i = 0; i < 8; i++) top = fmaxf(top, largest[i]);
  float scale = top / 448.0f, inverse = top > 0 ? 448.0f / top : 0.0f;
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  for (int i = threadIdx.x * 8; i < columns; i += 2048) {
    uint4 v = *(const uint4*)(row + i);
    u32 pairs[4] = {v.x, v.y, v.z, v.w}, out[2];
    #pragma unroll
    for (int j = 0; j < 2; j++)
      out[j] = packE4m3(lowBf16(pairs[2 * j]) * inverse, highBf16(pairs[2 * j]) * inverse,
          lowBf16(pairs[2 * j + 1]) * inverse, highBf16(pairs[2 * j + 1]) * inverse);
    *(uint2*)(to + (u64)blockIdx.x * columns + i) = make_uint2(out[0], out[1]);
  }
}

// Index of the largest logit, the first of equal ones, becomes the next token; the sequence grows by that token.
extern "C" __global__ __launch_bounds__(1024) void argmax_advance(
    const float* logits, int vocabulary, int* tokens, int* positions, Row* rows, Sequence* sequence, int* history,
    int capacity) {
  __shared__ float best[32];
  __shared__ int where[32];
  waitForPrevious();
  float top = -INFINITE;
  int at = 0x7fffffff;
  for (int i = threadIdx.x; i < vocabulary; i += 1024) {
    float x = logits[i];
    if (x > top) { top = x; at = i; }
  }
  #pragma unroll
  for (int step = 0; step < 2; step++) {
    #pragma unroll
    for (int lane = 16; lane; lane >>= 1) {
      float x = __shfl_xor_sync(~0u, top, lane);
      int i = __shfl_xor_sync(~0u, at, lane);
      if (x > top || (x == top && i < at)) { top = x; at = i; }
    }
    if (step == 0) {
      if (threadIdx.x % 32 == 0) { best[threadIdx.x / 32] = top; where[threadIdx.x / 32] = at; }
      __syncthreads();
      top = best[threadIdx.x % 32];
      at = where[threadIdx.x % 32];
    }
  }
  if (threadIdx.x == 0) {
    tokens[0] = at;
    int position = positions[0];
    history[position % capacity] = at;
    if (position + 1 < capacity) {
      positions[0] = position + 1;
      rows[0].token += 1;
      sequence->contextTokens += 1;
    }
  }
}

// Normally distributed numbers for benchmarks, from a counter.
extern "C" __global__ void fill_normal(bf16* out, u64 count, float mean, float deviation, u64 seed) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
    u64 z = seed * 0x9e3779b97f4a7c15ull + i;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    float u = ((u32)z + 0.5f) * 2.3283064e-10f, v = (u32)(z >> 32) * 2.3283064e-10f;
    out[i] = toBf16(mean + deviation * sqrtf(-2.0f * __logf(u)) * __cosf(6.2831853f * v));
  }
}
