#include "attention.cuh"
#include "wide.cuh"

// All layers of a last block in one kernel, for models whose layers are so small that starting kernels would take most of the
// time. One block a multiprocessor stays; between its phases (queries, keys and values; attention; merging;
// output; gate and up; down) all blocks meet. Weights of the next phase, and in last blocks the context's keys and values, are
// requested before the blocks have met. Products are as in skinny.cu: weights are the left operand of mma, straight from their
// rows; warps share the inputs of a tile of 16 outputs, blocks the outputs and the tokens.
//
// Compiled for HEAD_SIZE, HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, TOKEN_TILES of eight tokens and INT8.

// Warps that multiply; four more load keys and values.
constexpr int WORKERS = GROUPS * 128, WORKER_WARPS = WORKERS / 32;
constexpr int MERGE_SHARES = 2, MERGE_ROWS = WORKER_WARPS / MERGE_SHARES;
constexpr int ATTENTION_BYTES = PLACES_AT + RING * KEYS * 16;

struct LayerWeights {
  const bf16* qkv;
  const bf16* attentionOutput;
  const bf16* gateUp;
  const bf16* down;
};

struct LayersArgs {
  AttentionArgs attention;
  const LayerWeights* weights;
  const int* mergeCount;
  const int* positions;
  const Row* places;        // of KV
  const float2* rope;
  bf16* x;                  // [token][HIDDEN]: the residual, rounded
  float* residual;          // [token][HIDDEN]
  bf16* inner;              // [token][FEED_FORWARD]
  u32* met;                 // blocks that have come, and that have ended; zero before and after
  int layers;
  int tokens;
  float epsilon;
  int merging;              // whether there is a phase of merging
};

enum Epilogue { QKV, RESIDUAL, SWIGLU };

// Read anew in each phase: what follows from them is not to be kept in registers, of which there are too few, from phase to phase.
DEVICE int thisThread() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

DEVICE int thisBlock() {
  int block;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
  return block;
}

DEVICE void syncWorkers() { asm volatile("bar.sync 2, %0;" :: "n"(WORKERS) : "memory"); }

DEVICE void awaitBlocks(const u32* met, u32 count) {
  u32 seen;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(met) : "memory");
  } while (seen < count);
}

// What this block's workers wrote is there for those who see the count.
DEVICE void arrive(u32* met) {
  syncWorkers();
  if (threadIdx.x == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" :: "l"(met) : "memory");
}

DEVICE void meet(const u32* met, u32 count) {
  if (threadIdx.x == 0) awaitBlocks(met, count);
  syncWorkers();
}

// Warps that share the inputs of an output tile.
__device__ constexpr int inputWarps(int steps) {
  return steps % 9 == 0 && steps / 9 <= 4 ? 9 : steps % 12 == 0 || steps > 32 ? 12 : 8;
}

struct Early {
  float2 turn;
  Row place;
  float low;
  float high;
};

template <Epilogue E, int OUTPUTS, int INPUTS, int OUTPUT_WARPS, int INPUT_WARPS, int MOST_TILES> struct Product {
  static constexpr int STEPS = INPUTS / 32, PER_WARP = (STEPS + INPUT_WARPS - 1) / INPUT_WARPS;
  static constexpr bool EXACT = STEPS % INPUT_WARPS == 0, NORM = E != RESIDUAL;
  static constexpr int TILES = OUTPUTS / 16, COLUMNS = (TILES + OUTPUT_WARPS - 1) / OUTPUT_WARPS;
  static constexpr int SHARES = (TOKEN_TILES + MOST_TILES - 1) / MOST_TILES, NT = (TOKEN_TILES + SHARES - 1) / SHARES;
  static constexpr int UNITS = COLUMNS * SHARES, PIECES = OUTPUT_WARPS * NT, WARPS = OUTPUT_WARPS * INPUT_WARPS;
  static constexpr int AHEAD = PER_WARP * NT <= 8 ? PER_WARP : 8 / NT;
  static constexpr int PAIR = E == QKV ? HEAD_SIZE / 2 : 8;
  static_assert(WARPS <= WORKER_WARPS && PIECES <= WORKER_WARPS && PER_WARP <= 8, "Too large for a block");

  uint4 w[PER_WARP][2];
  Early early[2];

  // Row of the weights for row 0 of a tile; row 8 lies PAIR after it.
  static DEVICE int firstOutput(int tile) {
    constexpr int PER_HEAD = HEAD_SIZE / 16;
    return E == QKV ? tile / PER_HEAD * HEAD_SIZE + tile % PER_HEAD * 8 : tile * 16;
  }

  DEVICE void loadEarly(const LayersArgs& a, int unit, int warp, int lane) {
    int tile = unit / SHARES * OUTPUT_WARPS + warp / NT;
    if (warp >= PIECES || tile >= TILES) return;
    int output = firstOutput(tile) + lane / 4;
    #pragma unroll
    for (int i = 0; i < 2; i++) {
      int token = (unit % SHARES * NT + warp % NT) * 8 + 2 * (lane % 4) + i;
      if (token >= a.tokens) continue;
      if (E == QKV) {
        early[i].turn = a.rope[(u64)a.positions[token] * (HEAD_SIZE / 2) + output % HEAD_SIZE];
        early[i].place = a.places[token];
      } else if (E == RESIDUAL) {
        // Written two phases ago.
        early[i].low = __ldcg(a.residual + token * OUTPUTS + output);
        early[i].high = __ldcg(a.residual + token * OUTPUTS + output + 8);
      }
    }
  }

  // Requests what does not depend on the phase before.
  DEVICE void request(const LayersArgs& a, const bf16* weights, int unit) {
    int thread = thisThread(), warp = thread / 32, lane = thread % 32;
    // Written on all ways: otherwise they would be taken to live on from the layer before.
    #pragma unroll
    for (int p = 0; p < PER_WARP; p++) w[p][0] = w[p][1] = make_uint4(0, 0, 0, 0);
    early[0] = early[1] = {};
    if (unit >= UNITS) return;
    if (warp < WARPS) {
      int tile = min(unit / SHARES * OUTPUT_WARPS + warp / INPUT_WARPS, TILES - 1), first = warp % INPUT_WARPS * PER_WARP;
      const bf16* row = weights + (u64)(firstOutput(tile) + lane / 4) * INPUTS + lane % 4 * 8 + first * 32;
      #pragma unroll
      for (int p = 0; p < PER_WARP; p++) {
        bool valid = EXACT || first + p < STEPS;
        w[p][0] = valid ? loadStreaming(row + p * 32) : make_uint4(0, 0, 0, 0);
        w[p][1] = valid ? loadStreaming(row + (u64)PAIR * INPUTS + p * 32) : make_uint4(0, 0, 0, 0);
      }
    }
    loadEarly(a, unit, warp, lane);
  }

  DEVICE void store(const LayersArgs& a, int layer, const Early& early, int output, int token, float low, float high) {
    if (token >= a.tokens) return;
    if (E == QKV) {
      int head = output / HEAD_SIZE, d = output % HEAD_SIZE;
      if (head < HEADS + KV_HEADS) {
        float x = low * early.turn.x - high * early.turn.y;
        high = high * early.turn.x + low * early.turn.y;
        low = x;
      }
      bf16* to;
      if (head < HEADS) {
        to = (bf16*)a.attention.q + (token * HEADS + head) * HEAD_SIZE;
      } else {
        if (!early.place.segment) return;
        u64 block = 2 * layer * KV_HEADS + head - HEADS;
        to = (bf16*)early.place.segment + (block * early.place.capacity + early.place.token) * HEAD_SIZE;
      }
      to[d] = toBf16(low);
      to[d + HEAD_SIZE / 2] = toBf16(high);
    } else if (E == RESIDUAL) {
      int at = token * OUTPUTS + output;
      float x = early.low + low, y = early.high + high;
      a.residual[at] = x;
      a.residual[at + 8] = y;
      a.x[at] = toBf16(x);
      a.x[at + 8] = toBf16(y);
    } else {
      a.inner[token * (OUTPUTS / 2) + output / 16 * 8 + output % 8] = toBf16(silu(low) * high);
    }
  }

  // x is there; the first unit has been requested.
  DEVICE void run(
      const LayersArgs& a, const bf16* weights, const bf16* x, int layer, float4* products, float (*squares)[TOKEN_TILES * 8]) {
    int thread = thisThread(), warp = thread / 32, lane = thread % 32, g = lane / 4, q = lane % 4, block = thisBlock();
    #pragma unroll 1
    for (int unit = block; unit < UNITS; unit += gridDim.x) {
      if (unit != block) {
        syncWorkers();
        request(a, weights, unit);
      }
      int token0 = unit % SHARES * NT * 8;
      if (warp < WARPS) {
        int ow = warp / INPUT_WARPS, iw = warp % INPUT_WARPS, first = iw * PER_WARP;
        const bf16* from[NT];
        bool live[NT];
        #pragma unroll
        for (int n = 0; n < NT; n++) {
          int token = token0 + n * 8 + g;
          live[n] = token < a.tokens;
          from[n] = x + (live[n] ? token : 0) * INPUTS + q * 8 + first * 32;
        }
        uint4 b[AHEAD][NT];
        uint4 zero = make_uint4(0, 0, 0, 0);
        #pragma unroll
        for (int p = 0; p < AHEAD; p++)
          #pragma unroll
          for (int n = 0; n < NT; n++)
            b[p][n] = live[n] && (EXACT || first + p < STEPS) ? *(const uint4*)(from[n] + p * 32) : zero;
        float d[NT][4] = {};
        float square[NT] = {};
        #pragma unroll
        for (int p = 0; p < PER_WARP; p++) {
          #pragma unroll
          for (int n = 0; n < NT; n++) {
            uint4 v = b[p % AHEAD][n];
            mma(d[n], w[p][0].x, w[p][1].x, w[p][0].y, w[p][1].y, v.x, v.y);
            mma(d[n], w[p][0].z, w[p][1].z, w[p][0].w, w[p][1].w, v.z, v.w);
            if (NORM && ow == 0) {
              u32 pairs[4] = {v.x, v.y, v.z, v.w};
              #pragma unroll
              for (int i = 0; i < 4; i++) {
                float s = lowBf16(pairs[i]), t = highBf16(pairs[i]);
                square[n] += s * s;
                square[n] += t * t;
              }
            }
            if (p + AHEAD < PER_WARP)
              b[p % AHEAD][n] =
                  live[n] && (EXACT || first + p + AHEAD < STEPS) ? *(const uint4*)(from[n] + (p + AHEAD) * 32) : zero;
          }
        }
        #pragma unroll
        for (int n = 0; n < NT; n++) {
          products[((iw * OUTPUT_WARPS + ow) * NT + n) * 32 + lane] = make_float4(d[n][0], d[n][1], d[n][2], d[n][3]);
          if (NORM && ow == 0) {
            square[n] += __shfl_xor_sync(~0u, square[n], 1);
            square[n] += __shfl_xor_sync(~0u, square[n], 2);
            if (q == 0) squares[iw][n * 8 + g] = square[n];
          }
        }
      }
      syncWorkers();
      int tile = unit / SHARES * OUTPUT_WARPS + warp / NT, inUnit = warp % NT * 8 + 2 * q;
      if (warp < PIECES && tile < TILES) {
        float4 sum = make_float4(0, 0, 0, 0);
        float square0 = 0, square1 = 0;
        #pragma unroll
        for (int k = 0; k < INPUT_WARPS; k++) {
          float4 v = products[(k * PIECES + warp) * 32 + lane];
          sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
          if (NORM) {
            square0 += squares[k][inUnit];
            square1 += squares[k][inUnit + 1];
          }
        }
        if (NORM) {
          float scale0 = rsqrtf(square0 / INPUTS + a.epsilon), scale1 = rsqrtf(square1 / INPUTS + a.epsilon);
          sum.x *= scale0; sum.z *= scale0;
          sum.y *= scale1; sum.w *= scale1;
        }
        int output = firstOutput(tile) + g;
        store(a, layer, early[0], output, token0 + inUnit, sum.x, sum.z);
        store(a, layer, early[1], output, token0 + inUnit + 1, sum.y, sum.w);
      }
    }
  }
};

constexpr int ATTENTION_WIDTH = HEADS * HEAD_SIZE, QKV_WIDTH = (HEADS + 2 * KV_HEADS) * HEAD_SIZE;
typedef Product<QKV, QKV_WIDTH, HIDDEN, 1, inputWarps(HIDDEN / 32), 3> Queries;
typedef Product<RESIDUAL, HIDDEN, ATTENTION_WIDTH, 1, inputWarps(ATTENTION_WIDTH / 32), 2> Output;
typedef Product<SWIGLU, 2 * FEED_FORWARD, HIDDEN, 3, 4, 3> GateUp;
typedef Product<RESIDUAL, HIDDEN, FEED_FORWARD, 1, inputWarps(FEED_FORWARD / 32), 2> Down;

DEVICE void runLayers(const LayersArgs& a, u8* shared, Barriers* barriers) {
  __shared__ float squares[WORKER_WARPS][TOKEN_TILES * 8];
  float4* products = (float4*)(shared + ATTENTION_BYTES);
  int count = *a.attention.itemCount * KV_HEADS;
  u32 perLayer = a.merging ? 6 : 5, blocks = gridDim.x;
  if (threadIdx.x >= WORKERS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 104;");
    Loader<INT8> loader(a.attention, shared, barriers, count);
    #pragma unroll 1
    for (int layer = 0; layer < a.layers; layer++) {
      u32 others = (layer * perLayer + 1) * blocks;
      loader.run(layer, false, [=] {
        if (threadIdx.x == WORKERS) awaitBlocks(a.met, others);
        syncLoaders();
      });
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 136;");
  u32 expected = 0;
  int tile = 0, uses = 0;
  #pragma unroll 1
  for (int layer = 0; layer < a.layers; layer++) {
    LayerWeights weights = a.weights[layer];
    {
      Queries queries;
      queries.request(a, weights.qkv, thisBlock());
      if (layer > 0) meet(a.met, expected);
      queries.run(a, weights.qkv, a.x, layer, products, squares);
    }
    arrive(a.met);
    expected += blocks;
    multiplyItems(a.attention, sharedAddress(shared), barriers, count, tile, uses);
    // Who had keys to multiply had them after all had met. Others must not be counted for what comes next before that.
    if (blockIdx.x >= count) meet(a.met, expected);
    arrive(a.met);
    expected += blocks;
    if (a.merging) {
      MergeArgs merge = {a.attention.partialOut, a.attention.partialSums, a.attention.sequences, a.attention.merges,
          a.mergeCount, a.attention.out, HEADS, KV_HEADS, ROWS, 0};
      int merging = thisThread() / 32, row = merging / MERGE_SHARES;
      mergeTiles<HEAD_SIZE, MERGE_SHARES>(merge, thisBlock() * MERGE_ROWS + row, blocks * MERGE_ROWS,
          merging % MERGE_SHARES, 3 + row, (float(*)[HEAD_SIZE])products + row * MERGE_SHARES, [&] { meet(a.met, expected); });
      arrive(a.met);
      expected += blocks;
    }
    {
      Output output;
      output.request(a, weights.attentionOutput, thisBlock());
      meet(a.met, expected);
      output.run(a, weights.attentionOutput, a.attention.out, layer, products, squares);
    }
    arrive(a.met);
    expected += blocks;
    {
      GateUp gateUp;
      gateUp.request(a, weights.gateUp, thisBlock());
      meet(a.met, expected);
      gateUp.run(a, weights.gateUp, a.x, layer, products, squares);
    }
    arrive(a.met);
    expected += blocks;
    {
      Down down;
      down.request(a, weights.down, thisBlock());
      meet(a.met, expected);
      down.run(a, weights.down, a.inner, layer, products, squares);
    }
    if (layer + 1 < a.layers) arrive(a.met);
    expected += blocks;
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void layers(const __grid_constant__ LayersArgs a) {
  extern __shared__ u8 unaligned[];
  __shared__ Barriers barriers;
  u8* shared = unaligned + ((1024 - (sharedAddress(unaligned) & 1023)) & 1023);
  if (threadIdx.x == 0) initBarriers(barriers);
  __syncthreads();
  runLayers(a, shared, &barriers);
  // Nobody looks at the count any more when all blocks have come here.
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(a.met + 1, 1) == gridDim.x - 1) {
    a.met[0] = 0;
    a.met[1] = 0;
  }
}
