// Attention masses of segments: the softmax runs over the tokens of the scored segments only, and is summed per segment.

// For each segment, KV head and packed row, the maximum logit and the sum of weights relative to it; a block of four warps
// per segment and head, each block for one head. q is [rows][heads * D]; row h * (rows * group) + r of the results is query head h * group + r % group of
// probed row r / group. No logit is written to memory.
template <int D> DEVICE void measure(
    const num16* q, const Span* spans, const int* spanCount, float* maxima, float* sums, int stride, int layer, int heads,
    int kvHeads, int rows, float scale) {
  constexpr int TAKE = 8;
  extern __shared__ float queries[];   // [rows * group][D]
  __shared__ float2 shares[4][TAKE];
  waitForPrevious();
  releaseNext();
  int group = heads / kvHeads, packed = rows * group, head = blockIdx.x % kvHeads;
  for (int i = threadIdx.x; i < packed * D; i += blockDim.x) {
    int d = i % D, r = i / D;
    queries[i] = from16(q[((u64)(r / group) * heads + head * group + r % group) * D + d]) * scale;
  }
  __syncthreads();
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int count = *spanCount;
  for (int segment = blockIdx.x / kvHeads; segment < count; segment += gridDim.x / kvHeads) {
    Span span = spans[segment];
    bool int8 = isInt8(span.segment);
    const num16* keys = (const num16*)span.segment + (u64)(2 * layer * kvHeads + head) * span.capacity * D;
    const u8* keys8 = int8Keys(span.segment, span.capacity, layer, head, kvHeads, D);
    const float4* scales = (const float4*)keys8;
    for (int r0 = 0; r0 < packed; r0 += TAKE) {
      float top[TAKE], sum[TAKE];
      #pragma unroll
      for (int r = 0; r < TAKE; r++) { top[r] = -INFINITE; sum[r] = 0; }
      for (int token = threadIdx.x; token < span.tokens; token += 128) {
        float logit[TAKE] = {};
        // All of a key's row in flight at once.
        uint4 row[D / 8];
        #pragma unroll
        for (int i = 0; i < D / 8; i++) {
          if (!int8) row[i] = *(const uint4*)(keys + (u64)token * D + i * 8);
          else if (i < D / 16) row[i] = *(const uint4*)(keys8 + 4 * D + (u64)token * D + i * 16);
        }
        #pragma unroll
        for (int d = 0; d < D; d += 8) {
          // Queries are read when they are needed: hoisted, they would not fit into registers.
          asm volatile("" ::: "memory");
          float k[8];
          if (int8) {
            uint4 v = row[d / 16];
            float low[4], high[4];
            signedBytes(d % 16 ? v.z : v.x, low);
            signedBytes(d % 16 ? v.w : v.y, high);
            float4 s = __ldg(scales + d / 4), t = __ldg(scales + d / 4 + 1);
            k[0] = low[0] * s.x; k[1] = low[1] * s.y; k[2] = low[2] * s.z; k[3] = low[3] * s.w;
            k[4] = high[0] * t.x; k[5] = high[1] * t.y; k[6] = high[2] * t.z; k[7] = high[3] * t.w;
          } else {
            uint4 v = row[d / 8];
            k[0] = low16(v.x); k[1] = high16(v.x); k[2] = low16(v.y); k[3] = high16(v.y);
            k[4] = low16(v.z); k[5] = high16(v.z); k[6] = low16(v.w); k[7] = high16(v.w);
          }
          #pragma unroll
          for (int r = 0; r < TAKE; r++) {
            const float4* query = (const float4*)(queries + min(r0 + r, packed - 1) * D + d);
            float4 x = query[0], y = query[1];
            logit[r] += k[0] * x.x + k[1] * x.y + k[2] * x.z + k[3] * x.w
                + k[4] * y.x + k[5] * y.y + k[6] * y.z + k[7] * y.w;
          }
        }
        #pragma unroll
        for (int r = 0; r < TAKE; r++) {
          float maximum = fmaxf(top[r], logit[r]);
          sum[r] = sum[r] * power2(top[r] - maximum) + power2(logit[r] - maximum);
          top[r] = maximum;
        }
      }
      #pragma unroll
      for (int r = 0; r < TAKE; r++) {
        float maximum = warpMax(top[r]);
        float total = warpSum(top[r] == -INFINITE ? 0.0f : sum[r] * power2(top[r] - maximum));
        if (lane == 0) shares[warp][r] = make_float2(maximum, total);
      }
      __syncthreads();
      if (threadIdx.x < TAKE && r0 + threadIdx.x < packed) {
        int r = threadIdx.x;
        float maximum = fmaxf(fmaxf(shares[0][r].x, shares[1][r].x), fmaxf(shares[2][r].x, shares[3][r].x));
        float total = 0;
        #pragma unroll
        for (int i = 0; i < 4; i++) total += shares[i][r].y * power2(shares[i][r].x - maximum);
        maxima[(u64)(head * packed + r0 + r) * stride + segment] = maximum;
        sums[(u64)(head * packed + r0 + r) * stride + segment] = total;
      }
      __syncthreads();
    }
  }
}

#define PROBE(NAME, D)                                                                                       \
  extern "C" __global__ __launch_bounds__(128) void NAME(                                                    \
      const num16* q, const Span* spans, const int* spanCount, float* maxima, float* sums, int stride,        \
      int layer, int heads, int kvHeads, int rows, float scale) {                                            \
    measure<D>(q, spans, spanCount, maxima, sums, stride, layer, heads, kvHeads, rows, scale);               \
  }
PROBE(probe_measure_64, 64)
PROBE(probe_measure_128, 128)

// mass[segment] = mean over rows of sums e^(maximum - overall) / total. One block: sums are taken in a fixed order.
extern "C" __global__ __launch_bounds__(1024) void probe_masses(
    const float* maxima, const float* sums, const int* spanCount, int stride, int rows, float2* perRow, float* masses) {
  waitForPrevious();
  int lane = threadIdx.x % 32, segments = *spanCount;
  for (int row = threadIdx.x / 32; row < rows; row += 32) {
    float top = -INFINITE;
    for (int i = lane; i < segments; i += 32) top = fmaxf(top, maxima[(u64)row * stride + i]);
    top = warpMax(top);
    float total = 0;
    for (int i = lane; i < segments; i += 32)
      total += sums[(u64)row * stride + i] * power2(maxima[(u64)row * stride + i] - top);
    total = warpSum(total);
    if (lane == 0) perRow[row] = make_float2(top, 1.0f / total);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < segments; i += 1024) {
    float mass = 0;
    #pragma unroll 8
    for (int row = 0; row < rows; row++) {
      float2 r = perRow[row];
      mass += sums[(u64)row * stride + i] * power2(maxima[(u64)row * stride + i] - r.x) * r.y;
    }
    masses[i] = mass / rows;
  }
}
