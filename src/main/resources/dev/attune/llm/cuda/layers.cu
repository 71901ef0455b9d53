#include "attention.cuh"
#include "wide.cuh"

// All layers of a last block in one kernel, for models whose layers are so small that starting kernels would take most of the
// time. One block a multiprocessor stays and goes through the phases of each layer: queries, keys and values; attention; merging;
// output; gate and up; down. What a phase leaves for the next is read word by word as it comes: memory for it says of each word
// whether it has been written (UNWRITTEN), so that nobody waits for a fence or for blocks whose numbers it does not need. Three
// sets of such memory take turns; all blocks meet once a layer, after attention, and then the set of the layer before is made
// unwritten again. Weights of the next phase, and the context's keys and values, are requested before what they are for has come.
// Products are as in skinny.cu: weights are the left operand of mma, straight from their rows; warps share the inputs of a tile
// of 16 outputs, blocks the outputs and the tokens.
//
// Compiled for HEAD_SIZE, HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, TOKEN_TILES of eight tokens and INT8.

// Warps that multiply; four more load keys and values.
constexpr int WORKERS = GROUPS * 128, WORKER_WARPS = WORKERS / 32;
#include "blocks.cuh"
constexpr int MERGE_SHARES = 2, MERGE_ROWS = WORKER_WARPS / MERGE_SHARES;
constexpr int ATTENTION_BYTES = SHARED_BYTES;

constexpr int MAX_TOKENS = 64;

struct LayerWeights {
  const num16* qkv;
  const num16* attentionOutput;
  const num16* gateUp;
  const num16* down;
};

// Of one layer.
struct Set {
  num16 q[MAX_TOKENS * HEADS * HEAD_SIZE];
  num16 mixed[MAX_TOKENS * HEADS * HEAD_SIZE];
  num16 between[MAX_TOKENS * HIDDEN];        // the residual before the feed-forward part, rounded
  num16 inner[MAX_TOKENS * FEED_FORWARD];
  num16 x[MAX_TOKENS * HIDDEN];              // the residual after it
};

// Numbers of blocks, zero before and after.
struct Met {
  u32 attended;   // have ended attention of a layer
  u32 kept;       // have written their keys and values of a layer
  u32 ended;
};

struct LayersArgs {
  AttentionArgs attention;
  const LayerWeights* weights;
  const int* mergeCount;
  const int* positions;
  const Row* places;        // of KV
  const float2* rope;
  num16* x;                  // [token][HIDDEN]: the residual, rounded, of the first layer's input and the last one's result
  float* residual;          // [token][HIDDEN]
  Set* sets;                // three, unwritten before
  Met* met;
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

// Workers have done with the tokens that took the place of queries; loaders wait for it before they write queries of the next
// layer, which may come before when they are of other tokens.
DEVICE void freeStages() { asm volatile("bar.arrive 15, %0;" :: "n"(THREADS) : "memory"); }
DEVICE void awaitStages() { asm volatile("bar.sync 15, %0;" :: "n"(THREADS) : "memory"); }

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
  DEVICE void request(const LayersArgs& a, const num16* weights, int unit) {
    int thread = thisThread(), warp = thread / 32, lane = thread % 32;
    // Written on all ways: otherwise they would be taken to live on from the layer before.
    #pragma unroll
    for (int p = 0; p < PER_WARP; p++) w[p][0] = w[p][1] = make_uint4(0, 0, 0, 0);
    early[0] = early[1] = {};
    if (unit >= UNITS) return;
    if (warp < WARPS) {
      int tile = min(unit / SHARES * OUTPUT_WARPS + warp / INPUT_WARPS, TILES - 1), first = warp % INPUT_WARPS * PER_WARP;
      const num16* row = weights + (u64)(firstOutput(tile) + lane / 4) * INPUTS + lane % 4 * 8 + first * 32;
      #pragma unroll
      for (int p = 0; p < PER_WARP; p++) {
        bool valid = EXACT || first + p < STEPS;
        w[p][0] = valid ? loadStreaming(row + p * 32) : make_uint4(0, 0, 0, 0);
        w[p][1] = valid ? loadStreaming(row + (u64)PAIR * INPUTS + p * 32) : make_uint4(0, 0, 0, 0);
      }
    }
    loadEarly(a, unit, warp, lane);
  }

  // Two numbers of neighbouring outputs of one token: lanes of even outputs get those of the first token, others of the second.
  static DEVICE u32 pairUp(int lane, const float (&ofToken)[2]) {
    bool odd = lane / 4 & 1;
    float other = __shfl_xor_sync(~0u, odd ? ofToken[0] : ofToken[1], 4);
    return odd ? pack16(other, ofToken[1]) : pack16(ofToken[0], other);
  }

  // low: outputs `output`, high: those PAIR after, of tokens `token` and `token` + 1.
  DEVICE void store(
      const LayersArgs& a, num16* out, int layer, int lane, int output, int token, float (&low)[2], float (&high)[2]) {
    int head = output / HEAD_SIZE;
    if (E == QKV && head < HEADS + KV_HEADS) {
      #pragma unroll
      for (int i = 0; i < 2; i++) {
        float x = low[i] * early[i].turn.x - high[i] * early[i].turn.y;
        high[i] = high[i] * early[i].turn.x + low[i] * early[i].turn.y;
        low[i] = x;
      }
    } else if (E == RESIDUAL) {
      #pragma unroll
      for (int i = 0; i < 2; i++) {
        low[i] += early[i].low;
        high[i] += early[i].high;
        if (token + i >= a.tokens) continue;
        a.residual[(token + i) * OUTPUTS + output] = low[i];
        a.residual[(token + i) * OUTPUTS + output + 8] = high[i];
      }
    } else if (E == SWIGLU) {
      #pragma unroll
      for (int i = 0; i < 2; i++) low[i] = silu(low[i]) * high[i];
    }
    u32 first = pairUp(lane, low), second = E == SWIGLU ? 0 : pairUp(lane, high);
    int mine = lane / 4 & 1, even = output - mine;
    token += mine;
    if (token >= a.tokens) return;
    if (E == QKV) {
      Row place = mine ? early[1].place : early[0].place;
      num16* to;
      if (head < HEADS) {
        to = out + (token * HEADS + head) * HEAD_SIZE;
      } else {
        if (!place.segment) return;
        u64 block = 2 * layer * KV_HEADS + head - HEADS;
        to = (num16*)place.segment + (block * place.capacity + place.token) * HEAD_SIZE;
      }
      storeWord(to + even % HEAD_SIZE, first);
      storeWord(to + even % HEAD_SIZE + HEAD_SIZE / 2, second);
    } else if (E == RESIDUAL) {
      storeWord(out + token * OUTPUTS + even, first);
      storeWord(out + token * OUTPUTS + even + 8, second);
    } else {
      storeWord(out + token * (OUTPUTS / 2) + even / 16 * 8 + even % 8, first);
    }
  }

  // Where 16 bytes of a token of x lie in shared memory, free of bank conflicts.
  static DEVICE int staged(int token, int chunk) { return token * (INPUTS / 8) + (chunk ^ (token & 1) << 2); }

  // Tokens of a unit into shared memory, where several warps need the same.
  static DEVICE void stage(const LayersArgs& a, const num16* x, int token0, uint4* to) {
    constexpr int CHUNKS = INPUTS / 8, COUNT = NT * 8 * CHUNKS, EACH = (COUNT + WORKERS - 1) / WORKERS;
    constexpr int TOGETHER = EACH <= 8 ? EACH : 8;
    #pragma unroll 1
    for (int first = thisThread(); first < COUNT; first += TOGETHER * WORKERS) {
      uint4 v[TOGETHER];
      bool all;
      do {
        all = true;
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          int at = first + i * WORKERS, token = token0 + at / CHUNKS;
          bool live = at < COUNT && token < a.tokens;
          v[i] = live ? loadShared16(x + token * INPUTS + at % CHUNKS * 8) : make_uint4(0, 0, 0, 0);
          all &= written(v[i]);
        }
      } while (!all);
      #pragma unroll
      for (int i = 0; i < TOGETHER; i++) {
        int at = first + i * WORKERS;
        if (at < COUNT) to[staged(at / CHUNKS, at % CHUNKS)] = v[i];
      }
    }
    syncWorkers();
  }

  // The first unit has been requested. Words of x may be missing yet where it `awaits` them.
  DEVICE void run(const LayersArgs& a, const num16* weights, const num16* x, num16* out, bool awaits, int layer,
      float4* products, uint4* stages, float (*squares)[TOKEN_TILES * 8]) {
    constexpr bool STAGED = OUTPUT_WARPS > 1;
    int thread = thisThread(), warp = thread / 32, lane = thread % 32, g = lane / 4, q = lane % 4, block = thisBlock();
    #pragma unroll 1
    for (int unit = block; unit < UNITS; unit += gridDim.x) {
      if (unit != block) request(a, weights, unit);
      int token0 = unit % SHARES * NT * 8;
      if (STAGED) {
        syncWorkers();
        stage(a, x, token0, stages);
      }
      int ow = warp / INPUT_WARPS, iw = warp % INPUT_WARPS, first = iw * PER_WARP;
      float d[NT][4] = {};
      float square[NT] = {};
      if (warp < WARPS) {
        const num16* from[NT];
        bool live[NT];
        #pragma unroll
        for (int n = 0; n < NT; n++) {
          int token = token0 + n * 8 + g;
          live[n] = token < a.tokens;
          from[n] = x + (live[n] ? token : 0) * INPUTS + q * 8 + first * 32;
        }
        uint4 b[AHEAD][NT];
        auto fetch = [&](int p, int n) {
          if (STAGED) return EXACT || first + p < STEPS ? stages[staged(n * 8 + g, (first + p) * 4 + q)] : make_uint4(0, 0, 0, 0);
          return live[n] && (EXACT || first + p < STEPS) ? loadShared16(from[n] + p * 32) : make_uint4(0, 0, 0, 0);
        };
        auto missing = [&](const uint4& v) { return !STAGED && awaits && __any_sync(~0u, !written(v)); };
        bool all;
        do {
          all = true;
          #pragma unroll
          for (int p = 0; p < AHEAD; p++)
            #pragma unroll
            for (int n = 0; n < NT; n++) b[p][n] = fetch(p, n);
          // Looks for one that is missing alone, so that those who write it are not held up.
          #pragma unroll
          for (int p = 0; p < AHEAD; p++)
            #pragma unroll
            for (int n = 0; n < NT; n++)
              while (all && missing(b[p][n])) {
                do b[p][n] = fetch(p, n); while (missing(b[p][n]));
                all = false;
              }
        } while (!all);
        #pragma unroll
        for (int p = 0; p < PER_WARP; p++) {
          #pragma unroll
          for (int n = 0; n < NT; n++) {
            uint4 v = b[p % AHEAD][n];
            while (p >= AHEAD && missing(v)) v = fetch(p, n);
            mma(d[n], w[p][0].x, w[p][1].x, w[p][0].y, w[p][1].y, v.x, v.y);
            mma(d[n], w[p][0].z, w[p][1].z, w[p][0].w, w[p][1].w, v.z, v.w);
            if (NORM && ow == 0) {
              u32 pairs[4] = {v.x, v.y, v.z, v.w};
              #pragma unroll
              for (int i = 0; i < 4; i++) {
                float s = low16(pairs[i]), t = high16(pairs[i]);
                square[n] += s * s;
                square[n] += t * t;
              }
            }
            if (p + AHEAD < PER_WARP) b[p % AHEAD][n] = fetch(p + AHEAD, n);
          }
        }
      }
      // What is there has been read.
      syncWorkers();
      if (warp < WARPS) {
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
        float low[2] = {sum.x, sum.y}, high[2] = {sum.z, sum.w};
        store(a, out, layer, lane, firstOutput(tile) + g, token0 + inUnit, low, high);
      }
    }
  }
};

constexpr int ATTENTION_WIDTH = HEADS * HEAD_SIZE, QKV_WIDTH = (HEADS + 2 * KV_HEADS) * HEAD_SIZE;
typedef Product<QKV, QKV_WIDTH, HIDDEN, 1, inputWarps(HIDDEN / 32), 3> Queries;
typedef Product<RESIDUAL, HIDDEN, ATTENTION_WIDTH, 1, inputWarps(ATTENTION_WIDTH / 32), 2> Output;
typedef Product<SWIGLU, 2 * FEED_FORWARD, HIDDEN, 3, 4, 3> GateUp;
typedef Product<RESIDUAL, HIDDEN, FEED_FORWARD, 1, inputWarps(FEED_FORWARD / 32), 2> Down;

// Makes a set unwritten, each block its share.
DEVICE void clear(Set* set) {
  static_assert(sizeof(Set) % 16 == 0, "A set is cleared 16 bytes at a time");
  uint4 nothing = make_uint4(UNWRITTEN, UNWRITTEN, UNWRITTEN, UNWRITTEN);
  for (u32 i = thisBlock() * WORKERS + thisThread(); i < sizeof(Set) / 16; i += gridDim.x * WORKERS) ((uint4*)set)[i] = nothing;
}

static_assert(Output::UNITS == Down::UNITS && Output::NT == Down::NT, "A number of the residual is one thread's alone");
static_assert(GateUp::NT * 8 * HIDDEN * 2 <= SLOTS * Q_BYTES, "Tokens take the place of queries");

DEVICE void runLayers(const LayersArgs& a, u8* shared, Barriers* barriers) {
  __shared__ float squares[WORKER_WARPS][TOKEN_TILES * 8];
  float4* products = (float4*)(shared + ATTENTION_BYTES);
  // Of queries, which attention has done with.
  uint4* stages = (uint4*)(shared + Q_AT);
  int count = *a.attention.itemCount * KV_HEADS;
  u32 blocks = gridDim.x;
  if (threadIdx.x >= WORKERS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 104;");
    Loader<INT8, true> loader(a.attention, shared, barriers, count);
    #pragma unroll 1
    for (int layer = 0; layer < a.layers; layer++) {
      bool free = layer == 0;
      loader.run(layer, a.sets[layer % 3].q, false, [&](bool kept) {
        if (!free) awaitStages();
        free = true;
        // Before all have met in the layer before, the set may hold what an earlier layer left.
        if (threadIdx.x == WORKERS) {
          awaitBlocks(&a.met->attended, layer * blocks);
          if (kept) awaitBlocks(&a.met->kept, (layer + 1) * blocks);
        }
        syncLoaders();
      });
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 136;");
  Turn turn;
  int uses = 0;
  #pragma unroll 1
  for (int layer = 0; layer < a.layers; layer++) {
    LayerWeights weights = a.weights[layer];
    Set* set = a.sets + layer % 3;
    const num16* x = layer == 0 ? a.x : a.sets[(layer - 1) % 3].x;
    {
      Queries queries;
      queries.request(a, weights.qkv, thisBlock());
      queries.run(a, weights.qkv, x, set->q, layer > 0, layer, products, stages, squares);
    }
    arrive(&a.met->kept);
    AttentionArgs attention = a.attention;
    attention.out = set->mixed;
    int item = blockIdx.x;
    multiplyItems(attention, sharedAddress(shared), barriers, item, count, turn, uses);
    arrive(&a.met->attended);
    u32 expected = (layer + 1) * blocks;
    if (a.merging) {
      MergeArgs merge = {attention.partialOut, attention.partialSums, attention.sequences, attention.merges,
          a.mergeCount, set->mixed, HEADS, KV_HEADS, ROWS, 0};
      int merging = thisThread() / 32, row = merging / MERGE_SHARES;
      mergeTiles<HEAD_SIZE, MERGE_SHARES>(merge, thisBlock() * MERGE_ROWS + row, blocks * MERGE_ROWS, merging % MERGE_SHARES,
          3 + row, (float(*)[HEAD_SIZE])products + row * MERGE_SHARES, [&] { meet(&a.met->attended, expected); });
    } else {
      meet(&a.met->attended, expected);
    }
    // Its last words were for queries of this layer, which all have ended.
    if (layer > 0) clear(a.sets + (layer - 1) % 3);
    {
      Output output;
      output.request(a, weights.attentionOutput, thisBlock());
      output.run(a, weights.attentionOutput, set->mixed, set->between, true, layer, products, stages, squares);
    }
    {
      GateUp gateUp;
      gateUp.request(a, weights.gateUp, thisBlock());
      gateUp.run(a, weights.gateUp, set->between, set->inner, true, layer, products, stages, squares);
      if (layer + 1 < a.layers) freeStages();
    }
    {
      Down down;
      down.request(a, weights.down, thisBlock());
      down.run(a, weights.down, set->inner, layer + 1 < a.layers ? set->x : a.x, true, layer, products, stages, squares);
    }
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void layers(const __grid_constant__ LayersArgs a) {
  extern __shared__ u8 unaligned[];
  __shared__ Barriers barriers;
  u8* shared = unaligned + ((1024 - (sharedAddress(unaligned) & 1023)) & 1023);
  if (threadIdx.x == 0) initBarriers<INT8>(barriers);
  __syncthreads();
  runLayers(a, shared, &barriers);
  // Nobody looks at the count any more when all blocks have come here.
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(&a.met->ended, 1) == gridDim.x - 1) *a.met = {};
}
