// Passes over activations that are not fused into a product.

// x[row] = embedding[tokens[row]]; also in fp32 when x32 is given, zeros when low is, and the sum of squares of each row
// when squares is.
extern "C" __global__ void embed(
    const int* tokens, const num16* embedding, num16* x, float* x32, u8* low, float* squares, int rows, int hidden) {
  waitForPrevious();
  releaseNext();
  __shared__ float parts[32];
  int row = blockIdx.x;
  const num16* from = embedding + (u64)tokens[row] * hidden;
  float sum = 0;
  for (int i = threadIdx.x * 8; i < hidden; i += blockDim.x * 8) {
    uint4 v = *(const uint4*)(from + i);
    *(uint4*)(x + (u64)row * hidden + i) = v;
    if (low) *(uint2*)(low + (u64)row * hidden + i) = make_uint2(0, 0);
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int j = 0; j < 4; j++) {
      float low = low16(pairs[j]), high = high16(pairs[j]);
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
extern "C" __global__ void rms_norm(const num16* x, num16* normed, int hidden, float epsilon) {
  __shared__ float parts[32];
  u64 row = (u64)blockIdx.x * hidden;
  float sum = 0;
  for (int i = threadIdx.x * 8; i < hidden; i += blockDim.x * 8) {
    uint4 v = *(const uint4*)(x + row + i);
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int j = 0; j < 4; j++) {
      float low = low16(pairs[j]), high = high16(pairs[j]);
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
    v.x = pack16(low16(v.x) * scale, high16(v.x) * scale);
    v.y = pack16(low16(v.y) * scale, high16(v.y) * scale);
    v.z = pack16(low16(v.z) * scale, high16(v.z) * scale);
    v.w = pack16(low16(v.w) * scale, high16(v.w) * scale);
    *(uint4*)(normed + row + i) = v;
  }
}

// Rotates queries and keys of qkv [row][all][headSize], which holds heads queries, kvHeads keys and the rest values;
// queries go to q, keys and values to their segment. A block per row, a thread per pair of dimensions.
extern "C" __global__ void rope_keep(
    const num16* qkv, num16* q, const Row* rows, const int* positions, const float2* rope, int layer, int heads,
    int kvHeads, int all, int headSize) {
  int row = blockIdx.x;
  int half = headSize / 2;
  Row place = rows[row];
  const num16* from = qkv + (u64)row * all * headSize;
  for (int i = threadIdx.x; i < all * half; i += blockDim.x) {
    int head = i / half, d = i % half;
    float a = from16(from[head * headSize + d]), b = from16(from[head * headSize + d + half]);
    if (head < heads + kvHeads) {
      float2 turn = rope[(u64)positions[row] * half + d];
      float a1 = a * turn.x - b * turn.y;
      b = b * turn.x + a * turn.y;
      a = a1;
    }
    num16* to;
    if (head < heads) {
      to = q + ((u64)row * heads + head) * headSize;
    } else {
      if (!place.segment) continue;
      int block = 2 * layer * kvHeads + head - heads;
      to = (num16*)place.segment + ((u64)block * place.capacity + place.token) * headSize;
    }
    to[d] = to16(a);
    to[d + half] = to16(b);
  }
}

// inner[row][f] = silu(gate) * up; gate and up alternate in groups of eight columns of gateUp [row][2 * width].
extern "C" __global__ void swiglu(const num16* gateUp, num16* inner, u64 groups, int width) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= groups) return;
  uint4 g = *(const uint4*)(gateUp + i * 16), u = *(const uint4*)(gateUp + i * 16 + 8);
  uint4 r;
  r.x = pack16(silu(low16(g.x)) * low16(u.x), silu(high16(g.x)) * high16(u.x));
  r.y = pack16(silu(low16(g.y)) * low16(u.y), silu(high16(g.y)) * high16(u.y));
  r.z = pack16(silu(low16(g.z)) * low16(u.z), silu(high16(g.z)) * high16(u.z));
  r.w = pack16(silu(low16(g.w)) * low16(u.w), silu(high16(g.w)) * high16(u.w));
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
    num16* matrix, const float* a, const float* b, const float* norm, int inputs, int rank, int groupRows) {
  int output = blockIdx.x;
  num16* row = matrix + (u64)(output / 8 * groupRows + output % 8) * inputs;
  for (int i = threadIdx.x; i < inputs; i += blockDim.x) {
    float sum = 0;
    for (int r = 0; r < rank; r++) sum += b[(u64)output * rank + r] * a[(u64)r * inputs + i];
    row[i] = to16(from16(row[i]) + (norm ? sum * norm[i] : sum));
  }
}

// A slot of one of several segments.
struct Slot {
  int part;
  int slot;
};

// Chosen slots of segments become one: block x of the result, slots from 64 * blockIdx.y on, eight numbers a thread. Into int8
// only from one segment, which keeps its numbers and scales; from int8 into num16 they are scaled.
extern "C" __global__ void gather_slots(
    const Span* parts, const Slot* slots, int count, u64 whole, int kvHeads, int d) {
  int layer = blockIdx.x / kvHeads / 2, value = blockIdx.x / kvHeads % 2, head = blockIdx.x % kvHeads;
  int chunks = d / 8, end = min(count, 64 * (int)blockIdx.y + 64);
  for (int i = 64 * blockIdx.y * chunks + threadIdx.x; i < end * chunks; i += blockDim.x) {
    int to = i / chunks, at = i % chunks * 8;
    Span part = parts[slots[to].part];
    int slot = slots[to].slot, scales = value ? (part.capacity + 3) & ~3 : d;
    if (!isInt8(part.segment)) {
      const num16* from = (const num16*)part.segment + ((u64)blockIdx.x * part.capacity + slot) * d + at;
      *(uint4*)((num16*)whole + ((u64)blockIdx.x * count + to) * d + at) = *(const uint4*)from;
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
      *(uint4*)((num16*)whole + ((u64)blockIdx.x * count + to) * d + at) =
          make_uint4(pack16(x[0], x[1]), pack16(x[2], x[3]), pack16(x[4], x[5]), pack16(x[6], x[7]));
    }
  }
}

DEVICE u8 quantised(float x) { return (u8)max(-127, min(127, __float2int_rn(x))); }

// Block x of a segment in num16, as int8 into another: keys with a scale a channel, values with one a slot, the largest
// number becoming 127. 256 threads.
extern "C" __global__ __launch_bounds__(256) void quantise(u64 from, u64 to, int slots, int kvHeads, int d) {
  __shared__ float largest[256];
  int layer = blockIdx.x / kvHeads / 2, value = blockIdx.x / kvHeads % 2, head = blockIdx.x % kvHeads;
  const num16* numbers = (const num16*)from + (u64)blockIdx.x * slots * d;
  u8* block = (u8*)(value ? int8Values(to, slots, layer, head, kvHeads, d) : int8Keys(to, slots, layer, head, kvHeads, d));
  float* scales = (float*)block;
  u8* out = block + 4 * (value ? (slots + 3) & ~3 : d);
  if (value) {
    int lane = threadIdx.x % 32;
    for (int s = threadIdx.x / 32; s < slots; s += 8) {
      float top = 0;
      for (int i = lane; i < d; i += 32) top = fmaxf(top, fabsf(from16(numbers[(u64)s * d + i])));
      float scale = warpMax(top) / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
      if (lane == 0) scales[s] = scale;
      for (int i = lane; i < d; i += 32) out[(u64)s * d + i] = quantised(from16(numbers[(u64)s * d + i]) * inverse);
    }
    return;
  }
  int channel = threadIdx.x % d, groups = 256 / d, group = threadIdx.x / d;
  float top = 0;
  for (int s = group; s < slots; s += groups) top = fmaxf(top, fabsf(from16(numbers[(u64)s * d + channel])));
  largest[threadIdx.x] = top;
  __syncthreads();
  for (int g = 0; g < groups; g++) top = fmaxf(top, largest[g * d + channel]);
  float scale = top / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  if (group == 0) scales[channel] = scale;
  for (int s = group; s < slots; s += groups)
    out[(u64)s * d + channel] = quantised(from16(numbers[(u64)s * d + channel]) * inverse);
}

// The numbers of four codes.
DEVICE void unpackE4m3(u32 codes, float (&x)[4]) {
  #pragma unroll
  for (int i = 0; i < 2; i++)
    asm("{\n.reg .b32 pair;\n.reg .b16 low, high;\ncvt.rn.f16x2.e4m3x2 pair, %2;\nmov.b32 {low, high}, pair;\n"
        "cvt.f32.f16 %0, low;\ncvt.f32.f16 %1, high;\n}"
        : "=f"(x[2 * i]), "=f"(x[2 * i + 1]) : "h"((unsigned short)(codes >> 16 * i)));
}

// Rows of a matrix, columns times factors if given, as E4M3 with a scale a row, the largest number becoming 448. Products do not
// depend on the order of inputs where both operands have the same; in each 64, input 16 a + 8 h + 2 q + e is byte
// 16 q + 4 a + 2 e + h, so that a thread that has sums of a product of many rows writes its codes at once. Leaves the sum of
// squares of each row's codes in NORM_UNITs; clears `cleared`. 256 threads a row.
extern "C" __global__ __launch_bounds__(256) void quantise_rows(
    const num16* from, const float* factors, u8* to, float* scales, u64* norms, u64* cleared, int columns) {
  __shared__ float largest[8], squares[8];
  waitForPrevious();
  releaseNext();
  const num16* row = from + (u64)blockIdx.x * columns;
  auto load = [&](int i, float (&x)[8]) {
    uint4 v = *(const uint4*)(row + i);
    u32 pairs[4] = {v.x, v.y, v.z, v.w};
    #pragma unroll
    for (int j = 0; j < 8; j++) x[j] = (j % 2 ? high16(pairs[j / 2]) : low16(pairs[j / 2])) * (factors ? factors[i + j] : 1);
  };
  float top = 0;
  for (int i = threadIdx.x * 8; i < columns; i += 2048) {
    float x[8];
    load(i, x);
    #pragma unroll
    for (int j = 0; j < 8; j++) top = fmaxf(top, fabsf(x[j]));
  }
  top = warpMax(top);
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = top;
  __syncthreads();
  #pragma unroll
  for (int i = 0; i < 8; i++) top = fmaxf(top, largest[i]);
  float inverse = top > 0 ? LARGEST_E4M3 / top : 0.0f, square = 0;
  for (int i = threadIdx.x * 8; i < columns; i += 2048) {
    float x[8];
    load(i, x);
    u32 out[2];
    #pragma unroll
    for (int j = 0; j < 2; j++) {
      out[j] = packE4m3(x[4 * j] * inverse, x[4 * j + 1] * inverse, x[4 * j + 2] * inverse, x[4 * j + 3] * inverse);
      float codes[4];
      unpackE4m3(out[j], codes);
      #pragma unroll
      for (int k = 0; k < 4; k++) square += codes[k] * codes[k];
    }
    // Lanes 2 a + h have eight inputs each. First those with the same a exchange, then those with the same h.
    int lane = threadIdx.x % 32, quad = 0xf << (lane & 28), h = lane & 1, a = lane / 2 % 4;
    u32 other = __shfl_xor_sync(quad, h ? out[0] : out[1], 1), low = h ? other : out[0], high = h ? out[1] : other;
    u32 even = __byte_perm(low, high, 0x5140), odd = __byte_perm(low, high, 0x7362);
    other = __shfl_xor_sync(quad, a & 1 ? even : odd, 2);
    *(uint2*)(to + (u64)blockIdx.x * columns + i / 64 * 64 + 16 * (2 * h + (a & 1)) + a / 2 * 8) =
        a & 1 ? make_uint2(other, odd) : make_uint2(even, other);
  }
  square = warpSum(square);
  if (threadIdx.x % 32 == 0) squares[threadIdx.x / 32] = square;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int i = 0; i < 8; i++) sum += squares[i];
    scales[blockIdx.x] = top / LARGEST_E4M3;
    norms[blockIdx.x] = __float2ull_ru(sum * NORM_UNITS);
    if (cleared) cleared[blockIdx.x] = 0;
  }
}

// Leaves the largest magnitude of some numbers, if it is larger than what is there. 256 threads.
extern "C" __global__ __launch_bounds__(256) void largest_magnitude(const num16* numbers, u64 count, float* out) {
  float top = 0;
  for (u64 i = blockIdx.x * 256 + threadIdx.x; i < count; i += gridDim.x * 256) top = fmaxf(top, fabsf(from16(numbers[i])));
  top = warpMax(top);
  // Those that are not negative are in the order of their bits.
  if (threadIdx.x % 32 == 0) atomicMax((u32*)out, __float_as_uint(top));
}

// The largest norm of the rows of a quantised matrix. One block.
extern "C" __global__ __launch_bounds__(1024) void largest_norm(const float* scales, const u64* norms, int rows, float* out) {
  __shared__ float largest[32];
  float top = 0;
  for (int i = threadIdx.x; i < rows; i += 1024) top = fmaxf(top, scales[i] * sqrtf(norms[i] * (1.0f / NORM_UNITS)));
  top = warpMax(top);
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = top;
  __syncthreads();
  top = warpMax(largest[threadIdx.x % 32]);
  if (threadIdx.x == 0) *out = top;
}

// Scales SwiGLU's outputs so that no token's code exceeds 448, by the scales of up's rows; factors takes that back in the columns
// of the matrix that multiplies them. With x of norm n, |gate . x| |up . x| <= n^2 (|gate| |up| + |gate . up|) / 2, n^2 is
// `inputs` after RMSNorm, and codes of x, and rounding, may make it a third more. A warp an output.
extern "C" __global__ void bound_swiglu(const u8* gateUp, float* scales, const u64* norms, int inputs, int width, float* factors) {
  int output = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (output >= width) return;
  int gate = output / 8 * 16 + output % 8, up = gate + 8;
  float dot = 0;
  for (int i = threadIdx.x % 32 * 4; i < inputs; i += 128) {
    float x[4], y[4];
    unpackE4m3(*(const u32*)(gateUp + (u64)gate * inputs + i), x);
    unpackE4m3(*(const u32*)(gateUp + (u64)up * inputs + i), y);
    #pragma unroll
    for (int j = 0; j < 4; j++) dot += x[j] * y[j];
  }
  dot = warpSum(dot);
  if (threadIdx.x % 32) return;
  float codes = sqrtf(norms[gate] * (1.0f / NORM_UNITS)) * sqrtf(norms[up] * (1.0f / NORM_UNITS)) + fabsf(dot);
  float most = 1.32f * inputs * (scales[gate] * scales[up] * codes / 2);
  factors[output] = most > 0 ? most / LARGEST_E4M3 : 1;
  scales[up] /= factors[output];
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
extern "C" __global__ void fill_normal(num16* out, u64 count, float mean, float deviation, u64 seed) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
    u64 z = seed * 0x9e3779b97f4a7c15ull + i;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    float u = ((u32)z + 0.5f) * 2.3283064e-10f, v = (u32)(z >> 32) * 2.3283064e-10f;
    out[i] = to16(mean + deviation * sqrtf(-2.0f * __logf(u)) * __cosf(6.2831853f * v));
  }
}
