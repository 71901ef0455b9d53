// Products of weights with few tokens: last blocks and decoding. Time goes into streaming the weights once, so they are
// the left operand, 16 outputs a tile, loaded as mma fragments straight from their rows (a lane's 16 bytes cover two
// steps of 16 inputs; both operands use the same order of inputs within 32). They are requested before the kernel
// before has ended. RMSNorm is a factor per token: its weights are folded into the matrix, its mean square is summed up
// from the operand. Norm, product, RoPE, SwiGLU, residual and the place in the KV segment are one kernel.
//
// Compiled for an EPILOGUE, TOKEN_TILES (of 8 tokens), OUTPUT_TILES a warp, OUTPUT_WARPS times INPUT_WARPS warps a block,
// AHEAD and AHEAD_X steps of 32 inputs of weights and of x in flight, INPUTS, SPLITS and HEAD_SIZE: what is known then
// needs no instructions, and fetching those is a large part of the time of such short kernels.

struct SkinnyArgs {
  const num16* weights;      // [outputs][inputs]
  const num16* x;            // [token][inputs]
  const int* pick;          // rows of x, or null for all in order
  int tiles;                // of 16 outputs
  int tokens;
  float epsilon;
  int padding;
  float* partial;           // where blocks share the inputs of a tile (SPLITS > 1)
  u32* arrived;             // [gridDim.x], zero before and after
  num16* q;                  // [token][heads * headSize]
  const Row* rows;          // of KV, or null to write queries only
  const int* positions;
  const float2* rope;
  int layer;
  int heads;
  int kvHeads;
  int padding2;
  float* residual;          // [token][outputs], added to
  num16* out;                // [token][outputs] or, for SwiGLU, [token][outputs / 2]
  float* logits;            // [token][outputs]
};

enum Epilogue { QKV, RESIDUAL, SWIGLU, LOGITS };

constexpr int NT = TOKEN_TILES, MT = OUTPUT_TILES, FG = OUTPUT_WARPS, WK = INPUT_WARPS;
constexpr int THREADS = FG * WK * 32, BLOCK_TILES = FG * MT;
constexpr int STEPS = INPUTS / 32, SHARES = WK * SPLITS, PER_WARP = (STEPS + SHARES - 1) / SHARES;
constexpr bool EXACT = STEPS % SHARES == 0;

// Row of the weights for row 0 of a tile; row 8 lies PAIR after it. Such pairs belong together: the two
// dimensions of a rotation, or gate and up, which alternate in groups of eight.
template <Epilogue E> DEVICE int firstOutput(const SkinnyArgs& a, int tile) {
  if (E != QKV) return tile * 16;
  constexpr int PER_HEAD = HEAD_SIZE / 16;
  return tile / PER_HEAD * HEAD_SIZE + tile % PER_HEAD * 8;
}

// What the epilogue needs of a token besides the product. It was written at least two kernels ago, so it may be read
// before the kernel before has ended; past the first-level cache, which may hold older numbers.
struct Early {
  float2 turn;
  Row place;
  float low;
  float high;
};

template <Epilogue E> DEVICE Early loadEarly(const SkinnyArgs& a, int output, int token) {
  Early early = {};
  if (token >= a.tokens) return early;
  if (E == QKV) {
    int row = a.pick ? a.pick[token] : token;
    early.turn = a.rope[(u64)a.positions[row] * (HEAD_SIZE / 2) + output % HEAD_SIZE];
    if (a.rows) early.place = a.rows[row];
  } else if (E == RESIDUAL) {
    u64 at = (u64)token * a.tiles * 16 + output;
    early.low = __ldcg(a.residual + at);
    early.high = __ldcg(a.residual + at + 8);
  }
  return early;
}

template <Epilogue E>
DEVICE void store(const SkinnyArgs& a, const Early& early, int output, int token, float low, float high) {
  if (token >= a.tokens) return;
  if (E == QKV) {
    int half = HEAD_SIZE / 2, head = output / HEAD_SIZE, d = output % HEAD_SIZE;
    if (head < a.heads + a.kvHeads) {
      float x = low * early.turn.x - high * early.turn.y;
      high = high * early.turn.x + low * early.turn.y;
      low = x;
    }
    num16* to;
    if (head < a.heads) {
      to = a.q + ((u64)token * a.heads + head) * HEAD_SIZE;
    } else {
      if (!early.place.segment) return;
      u64 block = 2 * a.layer * a.kvHeads + head - a.heads;
      to = (num16*)early.place.segment + (block * early.place.capacity + early.place.token) * HEAD_SIZE;
    }
    to[d] = to16(low);
    to[d + half] = to16(high);
  } else if (E == RESIDUAL) {
    u64 at = (u64)token * a.tiles * 16 + output;
    float x = early.low + low, y = early.high + high;
    a.residual[at] = x;
    a.residual[at + 8] = y;
    a.out[at] = to16(x);
    a.out[at + 8] = to16(y);
  } else if (E == SWIGLU) {
    a.out[(u64)token * a.tiles * 8 + output / 16 * 8 + output % 8] = to16(silu(low) * high);
  } else {
    u64 at = (u64)token * a.tiles * 16 + output;
    a.logits[at] = low;
    a.logits[at + 8] = high;
  }
}

template <Epilogue E, int P, int PB> DEVICE void run(const SkinnyArgs& a) {
  constexpr bool NORM = E != RESIDUAL;
  extern __shared__ __align__(16) float4 products[];   // [INPUT_WARPS][BLOCK_TILES][NT][32]
  __shared__ float squares[WK][NT * 8];
  __shared__ bool lastBlock;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
  int fw = warp / WK, kw = warp % WK;
  // Blocks share either the inputs or, where a block's tokens are what takes time, the tokens.
  int token0 = SPLITS > 1 ? 0 : blockIdx.y * NT * 8;
  int first = ((SPLITS > 1 ? blockIdx.y : 0) * WK + kw) * PER_WARP, end = EXACT ? first + PER_WARP : min(first + PER_WARP, STEPS);
  constexpr int PAIR = E == QKV ? HEAD_SIZE / 2 : 8;
  constexpr bool ONE_ROUND = PER_WARP <= P;
  int tile0 = blockIdx.x * BLOCK_TILES + fw * MT;

  const num16* row[MT];
  #pragma unroll
  for (int m = 0; m < MT; m++) {
    int tile = min(tile0 + m, a.tiles - 1);
    row[m] = a.weights + (u64)(firstOutput<E>(a, tile) + g) * INPUTS + q * 8;
  }
  constexpr u64 high = (u64)PAIR * INPUTS;
  uint4 zero = make_uint4(0, 0, 0, 0);
  uint4 w[P][MT][2];
  #pragma unroll
  for (int p = 0; p < P; p++) {
    #pragma unroll
    for (int m = 0; m < MT; m++) {
      bool valid = EXACT ? p < PER_WARP : first + p < end;
      w[p][m][0] = valid ? loadStreaming(row[m] + (first + p) * 32) : zero;
      w[p][m][1] = valid ? loadStreaming(row[m] + high + (first + p) * 32) : zero;
    }
  }
  // Warps share out the (tile, token tile) pairs of the result.
  constexpr int PIECES = BLOCK_TILES * NT;
  constexpr bool ONCE = PIECES <= FG * WK;
  Early early[2];
  if (ONCE && warp < PIECES) {
    int output = firstOutput<E>(a, min((int)blockIdx.x * BLOCK_TILES + warp / NT, a.tiles - 1)) + g;
    #pragma unroll
    for (int i = 0; i < 2; i++) early[i] = loadEarly<E>(a, output, token0 + warp % NT * 8 + 2 * q + i);
  }
  waitForPrevious();
  releaseNext();

  const num16* from[NT];
  bool live[NT];
  #pragma unroll
  for (int n = 0; n < NT; n++) {
    int token = token0 + n * 8 + g;
    live[n] = token < a.tokens;
    int at = live[n] ? (a.pick ? a.pick[token] : token) : 0;
    from[n] = a.x + (u64)at * INPUTS + q * 8;
  }
  uint4 x[PB][NT];
  #pragma unroll
  for (int p = 0; p < PB; p++)
    #pragma unroll
    for (int n = 0; n < NT; n++)
      x[p][n] = (EXACT ? p < PER_WARP : first + p < end) && live[n] ? *(const uint4*)(from[n] + (first + p) * 32) : zero;

  float d[MT][NT][4] = {};
  float square[NT] = {};
  for (int s = first; ONE_ROUND ? s == first : s < end; s += P) {
    #pragma unroll
    for (int p = 0; p < (ONE_ROUND ? PER_WARP : P); p++) {
      #pragma unroll
      for (int n = 0; n < NT; n++) {
        uint4 b = x[p % PB][n];
        #pragma unroll
        for (int m = 0; m < MT; m++) {
          uint4 lo = w[p][m][0], hi = w[p][m][1];
          mma(d[m][n], lo.x, hi.x, lo.y, hi.y, b.x, b.y);
          mma(d[m][n], lo.z, hi.z, lo.w, hi.w, b.z, b.w);
        }
        if (NORM) {
          u32 pairs[4] = {b.x, b.y, b.z, b.w};
          #pragma unroll
          for (int i = 0; i < 4; i++) {
            float u = low16(pairs[i]), v = high16(pairs[i]);
            square[n] += u * u;
            square[n] += v * v;
          }
        }
        if (ONE_ROUND && p + PB >= PER_WARP) continue;
        x[p % PB][n] = s + p + PB < end && live[n] ? *(const uint4*)(from[n] + (s + p + PB) * 32) : zero;
      }
      #pragma unroll
      for (int m = 0; m < MT && !ONE_ROUND; m++) {
        bool valid = s + p + P < end;
        w[p][m][0] = valid ? loadStreaming(row[m] + (s + p + P) * 32) : zero;
        w[p][m][1] = valid ? loadStreaming(row[m] + high + (s + p + P) * 32) : zero;
      }
    }
  }

  #pragma unroll
  for (int m = 0; m < MT; m++)
    #pragma unroll
    for (int n = 0; n < NT; n++)
      products[((kw * BLOCK_TILES + fw * MT + m) * NT + n) * 32 + lane] =
          make_float4(d[m][n][0], d[m][n][1], d[m][n][2], d[m][n][3]);
  if (NORM) {
    #pragma unroll
    for (int n = 0; n < NT; n++) {
      square[n] += __shfl_xor_sync(~0u, square[n], 1);
      square[n] += __shfl_xor_sync(~0u, square[n], 2);
      if (fw == 0 && q == 0) squares[kw][n * 8 + g] = square[n];
    }
  }
  __syncthreads();

  float4* parts = (float4*)a.partial;
  float* squareParts = a.partial + (u64)gridDim.x * SPLITS * PIECES * 128;
  u64 block = (u64)blockIdx.y * gridDim.x + blockIdx.x;
  if (SPLITS > 1) {
    for (int i = warp; i < PIECES; i += FG * WK) {
      float4 sum = make_float4(0, 0, 0, 0);
      #pragma unroll
      for (int k = 0; k < WK; k++) {
        float4 v = products[(k * PIECES + i) * 32 + lane];
        sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
      }
      parts[(block * PIECES + i) * 32 + lane] = sum;
    }
    if (NORM && threadIdx.x < NT * 8) {
      float sum = 0;
      #pragma unroll
      for (int k = 0; k < WK; k++) sum += squares[k][threadIdx.x];
      squareParts[block * NT * 8 + threadIdx.x] = sum;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      lastBlock = atomicAdd(&a.arrived[blockIdx.x], 1) == SPLITS - 1;
      if (lastBlock) a.arrived[blockIdx.x] = 0;
    }
    __syncthreads();
    if (!lastBlock) return;
    __threadfence();
  }
  for (int i = warp; i < PIECES; i += FG * WK) {
    int tile = blockIdx.x * BLOCK_TILES + i / NT, n = i % NT;
    if (tile >= a.tiles) continue;
    float4 sum = make_float4(0, 0, 0, 0);
    float square0 = 0, square1 = 0;
    int token = n * 8 + 2 * q;
    if (SPLITS > 1) {
      for (int y = 0; y < SPLITS; y++) {
        u64 part = (u64)y * gridDim.x + blockIdx.x;
        float4 v = __ldcg(&parts[(part * PIECES + i) * 32 + lane]);
        sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
        if (NORM) {
          square0 += __ldcg(&squareParts[part * NT * 8 + token]);
          square1 += __ldcg(&squareParts[part * NT * 8 + token + 1]);
        }
      }
    } else {
      #pragma unroll
      for (int k = 0; k < WK; k++) {
        float4 v = products[(k * PIECES + i) * 32 + lane];
        sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
        if (NORM) {
          square0 += squares[k][token];
          square1 += squares[k][token + 1];
        }
      }
    }
    if (NORM) {
      float scale0 = rsqrtf(square0 / INPUTS + a.epsilon), scale1 = rsqrtf(square1 / INPUTS + a.epsilon);
      sum.x *= scale0; sum.z *= scale0;
      sum.y *= scale1; sum.w *= scale1;
    }
    int output = firstOutput<E>(a, tile) + g;
    if (!ONCE) {
      early[0] = loadEarly<E>(a, output, token0 + token);
      early[1] = loadEarly<E>(a, output, token0 + token + 1);
    }
    store<E>(a, early[0], output, token0 + token, sum.x, sum.z);
    store<E>(a, early[1], output, token0 + token + 1, sum.y, sum.w);
  }
}

extern "C" __global__ __launch_bounds__(THREADS) void skinny(SkinnyArgs a) { run<EPILOGUE, AHEAD, AHEAD_X>(a); }
