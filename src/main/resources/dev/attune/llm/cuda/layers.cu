#include "attention.cuh"
#include "wide.cuh"

// All layers of a last block in one kernel, for models whose layers are so small that starting kernels would take most of the
// time. One block a multiprocessor stays and goes through the phases of each layer: queries, keys and values; attention; merging;
// output; gate and up; down. What a phase leaves for the next is read word by word as it comes: memory for it says of each word
// whether it has been written (UNWRITTEN), so that nobody waits for a fence or for blocks whose numbers it does not need. Three
// sets of such memory take turns; all blocks meet once a layer, after attention, and then the set of the layer before is made
// unwritten again. Weights of the next phase, and the context's keys and values, are requested before what they are for has come.
// Products are as in skinny.cu: weights are the left operand of mma, straight from their rows; warps share the inputs of a tile
// of 16 outputs, blocks the outputs and the tokens. Loads of large weights would hold up those that look for words; where there is
// room, they are copied into shared memory: those of gate and up, and then those of down, into the place of queries, once
// attention has done with them.
//
// Several last blocks may go through the layers together, each phase of all of them before the next, so that one's words come
// while others are computed, and weights are loaded once. What a last block is summed from, and in which order, is the same.
//
// Compiled for HEAD_SIZE, HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, TOKEN_TILES of eight tokens, INT8, and REQUESTS, the most that go
// together.

// Warps that multiply; four more load keys and values.
constexpr int WORKERS = GROUPS * 128, WORKER_WARPS = WORKERS / 32;
#include "blocks.cuh"
// Shared memory of a block, and where sums of a product's warps lie in it, in the place of queries too, once those are used.
constexpr int ROOM = (224 << 10) - 1024, PRODUCTS_AT = SHARED_BYTES;
// Of several requests the sums of one are put together while those of the next are written.
constexpr int BUFFERS = REQUESTS == 1 ? 1 : 2;

constexpr int MAX_TOKENS = 64;

struct LayerWeights {
  const num16* qkv;
  const num16* attentionOutput;
  const num16* gateUp;
  const num16* down;
};

// Of one layer.
struct Set {
  num16 q[REQUESTS * MAX_TOKENS * HEADS * HEAD_SIZE];
  num16 mixed[REQUESTS * MAX_TOKENS * HEADS * HEAD_SIZE];
  num16 between[REQUESTS * MAX_TOKENS * HIDDEN];        // the residual before the feed-forward part, rounded
  num16 inner[REQUESTS * MAX_TOKENS * FEED_FORWARD];
  num16 x[REQUESTS * MAX_TOKENS * HIDDEN];              // the residual after it
};

// Numbers of blocks, zero before and after.
struct Met {
  u32 kept;                 // have written their keys and values of a layer
  u32 ended;
  u32 attended[REQUESTS];   // have ended a request's attention of a layer
};

// A last block.
struct Request {
  int begin, end;           // its rows
  int items;                // of attention, of it and those before
  int merge;                // its first merge, -1 where there is none
};

struct LayersArgs {
  AttentionArgs attention;
  const LayerWeights* weights;
  const Request* requests;
  const int* positions;
  const Row* places;        // of KV
  const float2* rope;
  num16* x;                  // [token][HIDDEN]: the residual, rounded, of the first layer's input and the last one's result
  float* residual;          // [token][HIDDEN]
  Set* sets;                // three, unwritten before
  Met* met;
  int layers;
  int count;                // of requests
  float epsilon;
  int tokens;               // of the only request,
  int merging;              // and whether it has merges
};

enum Epilogue { QKV, RESIDUAL, SWIGLU };

// Weights come into registers.
struct InRegisters {
  static constexpr bool SHARED = false;
  static constexpr int FIRST_AT = 0, FIRST_ROWS = 0, REST_AT = 0;
};

// Weights come into shared memory: the first ROWS_THERE rows to FIRST, the others to REST.
template <int FIRST, int ROWS_THERE, int REST> struct InShared {
  static constexpr bool SHARED = true;
  static constexpr int FIRST_AT = FIRST, FIRST_ROWS = ROWS_THERE, REST_AT = REST;
};

// Bytes of a row of weights in shared memory: eight lanes, which read two rows, touch all banks.
__device__ constexpr int pitch(int inputs) { return inputs * 2 % 128 == 0 ? inputs * 2 + 64 : inputs * 2; }

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

// The last warp, which brings weights, waits until all have done with the place where they come; the others do not.
DEVICE void readyToBring() {
  if (thisThread() / 32 == WORKER_WARPS - 1) asm volatile("bar.sync 14, %0;" :: "n"(WORKERS) : "memory");
  else asm volatile("bar.arrive 14, %0;" :: "n"(WORKERS) : "memory");
}

// Warps that share the inputs of an output tile.
__device__ constexpr int inputWarps(int steps) {
  return steps % 9 == 0 && steps / 9 <= 4 ? 9 : steps % 12 == 0 || steps > 32 ? 12 : 8;
}

// Sums of squares of each warp's inputs, of the tokens of a unit.
constexpr int MOST_SHARED = 3;
typedef float Squares[WORKER_WARPS][MOST_SHARED * 8];

DEVICE int countOf(const LayersArgs& a) { return REQUESTS == 1 ? 1 : a.count; }

DEVICE Request requestOf(const LayersArgs& a, const Request* requests, int i) {
  // What a lone last block is read of is closer.
  if (REQUESTS == 1) return {0, a.tokens, *a.attention.itemCount, a.merging ? 0 : -1};
  int4 v = *(const int4*)(requests + i);
  return {v.x, v.y, v.z, v.w};
}

// Bytes of the sums of a product's warps.
__device__ constexpr int sumBytes(int inputs, int tiles) { return inputWarps(inputs / 32) * tiles * 512; }
__device__ constexpr int larger(int a, int b) { return a > b ? a : b; }

constexpr int ATTENTION_WIDTH = HEADS * HEAD_SIZE, QKV_WIDTH = (HEADS + 2 * KV_HEADS) * HEAD_SIZE;
constexpr int QUERY_BYTES = SLOTS * Q_BYTES;

// Whether weights of gate and up, and of down, find room in the place of queries and the rest of the memory, beside sums.
__device__ constexpr int rowsThere(int inputs) { return QUERY_BYTES / pitch(inputs); }
__device__ constexpr bool fitting(int rows, int inputs, int rest) { return rows - rowsThere(inputs) <= rest / pitch(inputs); }
constexpr int TOGETHER_BUFFER = larger(sumBytes(HIDDEN, 3), larger(sumBytes(ATTENTION_WIDTH, 2), sumBytes(FEED_FORWARD, 2)));
constexpr int LEAST_BUFFER = REQUESTS == 1 ? 18 << 10 : TOGETHER_BUFFER;
// The same for one request and for several: the order of sums depends on it.
constexpr int LEAST_REST = ROOM - PRODUCTS_AT - larger(18 << 10, 2 * TOGETHER_BUFFER);
constexpr bool WEIGHTS_AHEAD = fitting(48, HIDDEN, LEAST_REST) && fitting(16, FEED_FORWARD, LEAST_REST);
constexpr int BUFFER_BYTES = WEIGHTS_AHEAD ? LEAST_BUFFER : 18 << 10, REST_AT = PRODUCTS_AT + BUFFERS * BUFFER_BYTES;
static_assert(REST_AT <= ROOM, "Sums find room");

struct Early {
  float2 turn;
  Row place;
  float low;
  float high;
};

// A unit is of OUTPUT_WARPS tiles of outputs side by side, or of EACH for every warp.
template <Epilogue E, int OUTPUTS, int INPUTS, int OUTPUT_WARPS, int INPUT_WARPS, int MOST_TILES, int EACH = 1,
    typename Weights = InRegisters>
struct Product {
  static constexpr int STEPS = INPUTS / 32, PER_WARP = (STEPS + INPUT_WARPS - 1) / INPUT_WARPS;
  static constexpr bool EXACT = STEPS % INPUT_WARPS == 0, NORM = E != RESIDUAL;
  static constexpr int TILES = OUTPUTS / 16, PER_UNIT = OUTPUT_WARPS * EACH, COLUMNS = (TILES + PER_UNIT - 1) / PER_UNIT;
  static constexpr int SHARES = (TOKEN_TILES + MOST_TILES - 1) / MOST_TILES, NT = (TOKEN_TILES + SHARES - 1) / SHARES;
  static constexpr int UNITS = COLUMNS * SHARES, PIECES = PER_UNIT * NT, WARPS = OUTPUT_WARPS * INPUT_WARPS;
  static constexpr int AHEAD = PER_WARP * NT <= 8 ? PER_WARP : 8 / NT;
  static constexpr int PAIR = E == QKV ? HEAD_SIZE / 2 : 8, PITCH = pitch(INPUTS);
  static_assert(WARPS <= WORKER_WARPS && PIECES <= WORKER_WARPS && PER_WARP <= 8 && NT <= MOST_SHARED, "Too large for a block");
  static_assert(Weights::SHARED || EACH == 1, "Registers hold a tile");
  // Weights in the place of queries stay there for the next request, so sums have little room.
  static constexpr int ROUNDS = REQUESTS > 1 ? EACH : 1, TOGETHER = EACH / ROUNDS, IN_ROUND = OUTPUT_WARPS * TOGETHER;
  static_assert(ROUNDS == 1 || E == SWIGLU, "What is loaded early is of the first round");

  uint4 w[Weights::SHARED ? 1 : PER_WARP][2];
  Early early[2];

  // Row of the weights for row 0 of a tile; row 8 lies PAIR after it.
  static DEVICE int firstOutput(int tile) {
    constexpr int PER_HEAD = HEAD_SIZE / 16;
    return E == QKV ? tile / PER_HEAD * HEAD_SIZE + tile % PER_HEAD * 8 : tile * 16;
  }

  static DEVICE void loadEarly(const LayersArgs& a, const Request& of, int unit, int warp, int lane, Early (&early)[2]) {
    int tile = unit / SHARES * PER_UNIT + warp / NT;
    if (warp >= PIECES || tile >= TILES) return;
    int output = firstOutput(tile) + lane / 4;
    #pragma unroll
    for (int i = 0; i < 2; i++) {
      int token = of.begin + (unit % SHARES * NT + warp % NT) * 8 + 2 * (lane % 4) + i;
      if (token >= of.end) continue;
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

  // Where a row of weights lies in shared memory.
  static DEVICE int rowAt(int row) {
    return row * PITCH + (row < Weights::FIRST_ROWS ? Weights::FIRST_AT : Weights::REST_AT - Weights::FIRST_ROWS * PITCH);
  }

  // Row of the weights for a row of a unit.
  static DEVICE int rowOf(int unit, int row) {
    return firstOutput(min(unit / SHARES * PER_UNIT + row / 16, TILES - 1)) + row % 8 + row / 8 % 2 * PAIR;
  }

  // Requests weights into the second-level cache.
  static DEVICE void prefetchAll(const num16* weights, int unit) {
    int thread = thisThread();
    if (unit >= UNITS || thread / 32 != WORKER_WARPS - 1) return;
    #pragma unroll 1
    for (int row = thread % 32; row < PER_UNIT * 16; row += 32)
      prefetchBulk(weights + (u64)rowOf(unit, row) * INPUTS, INPUTS * 2);
  }

  // Copies weights to their place, which nobody uses any more.
  static DEVICE void bring(const num16* weights, int unit, u8* shared, u64* arrived) {
    constexpr int ROWS_THERE = PER_UNIT * 16;
    int thread = thisThread(), lane = thread % 32;
    if (unit >= UNITS || thread / 32 != WORKER_WARPS - 1) return;
    // The place was written, and read, as other memory is.
    seeCopies();
    if (lane == 0) barrierExpect(arrived, ROWS_THERE * INPUTS * 2);
    __syncwarp();
    #pragma unroll 1
    for (int row = lane; row < ROWS_THERE; row += 32) {
      const num16* from = weights + (u64)rowOf(unit, row) * INPUTS;
      copyBulk(sharedAddress(shared) + rowAt(row), from, INPUTS * 2, arrived);
    }
  }

  // Requests what does not depend on the phase before.
  DEVICE void request(const LayersArgs& a, const Request& first, const num16* weights, int unit) {
    int thread = thisThread(), warp = thread / 32, lane = thread % 32;
    // Written on all ways: otherwise they would be taken to live on from the layer before.
    #pragma unroll
    for (int p = 0; p < PER_WARP && !Weights::SHARED; p++) w[p][0] = w[p][1] = make_uint4(0, 0, 0, 0);
    early[0] = early[1] = {};
    if (unit >= UNITS) return;
    if (!Weights::SHARED && warp < WARPS) {
      int tile = min(unit / SHARES * OUTPUT_WARPS + warp / INPUT_WARPS, TILES - 1), step = warp % INPUT_WARPS * PER_WARP;
      const num16* row = weights + (u64)(firstOutput(tile) + lane / 4) * INPUTS + lane % 4 * 8 + step * 32;
      #pragma unroll
      for (int p = 0; p < PER_WARP; p++) {
        bool valid = EXACT || step + p < STEPS;
        w[p][0] = valid ? loadStreaming(row + p * 32) : make_uint4(0, 0, 0, 0);
        w[p][1] = valid ? loadStreaming(row + (u64)PAIR * INPUTS + p * 32) : make_uint4(0, 0, 0, 0);
      }
    }
    loadEarly(a, first, unit, warp, lane, early);
  }

  // Two numbers of neighbouring outputs of one token: lanes of even outputs get those of the first token, others of the second.
  static DEVICE u32 pairUp(int lane, const float (&ofToken)[2]) {
    bool odd = lane / 4 & 1;
    float other = __shfl_xor_sync(~0u, odd ? ofToken[0] : ofToken[1], 4);
    return odd ? pack16(other, ofToken[1]) : pack16(ofToken[0], other);
  }

  // low: outputs `output`, high: those PAIR after, of tokens `token` and `token` + 1.
  DEVICE void store(
      const LayersArgs& a, num16* out, int layer, int lane, int output, int token, int end, float (&low)[2],
      float (&high)[2]) {
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
        if (token + i >= end) continue;
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
    if (token >= end) return;
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
  static DEVICE void stage(const num16* x, int token0, int end, uint4* to) {
    constexpr int CHUNKS = INPUTS / 8, COUNT = NT * 8 * CHUNKS, MOST = (COUNT + WORKERS - 1) / WORKERS;
    constexpr int TOGETHER = MOST <= 8 ? MOST : 8;
    #pragma unroll 1
    for (int first = thisThread(); first < COUNT; first += TOGETHER * WORKERS) {
      uint4 v[TOGETHER];
      bool all;
      do {
        all = true;
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          int at = first + i * WORKERS, token = token0 + at / CHUNKS;
          bool live = at < COUNT && token < end;
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

  // Words that a lane multiplies, of the first steps of a request.
  struct Inputs {
    const num16* from;
    int left;                 // tokens from this lane's first one on
    uint4 words[AHEAD][NT];

    DEVICE void open(const Request& of, int unit, const num16* x, int warp, int lane) {
      int token = of.begin + unit % SHARES * NT * 8 + lane / 4;
      left = of.end - token;
      from = x + (left > 0 ? token : of.begin) * INPUTS + lane % 4 * 8 + warp % INPUT_WARPS * PER_WARP * 32;
    }

    DEVICE uint4 fetch(int p, int n, int warp) const {
      bool valid = n * 8 < left && (EXACT || warp % INPUT_WARPS * PER_WARP + p < STEPS);
      return valid ? loadShared16(from + n * 8 * INPUTS + p * 32) : make_uint4(0, 0, 0, 0);
    }
  };

  // The first unit has been requested, and brought. Words of x may be missing yet where it `awaits` them.
  DEVICE void run(const LayersArgs& a, const Request* requests, const num16* weights, const num16* x, num16* out, bool awaits,
      int layer, u8* shared, float4* products, int& buffer, Squares* squares, u64* arrived = 0, u32* brought = 0) {
    constexpr bool STAGED = OUTPUT_WARPS > 1;
    #pragma unroll 1
    for (int unit = thisBlock(); unit < UNITS; unit += gridDim.x) {
      if (unit != thisBlock()) {
        if (Weights::SHARED) {
          syncWorkers();
          bring(weights, unit, shared, arrived);
        }
        request(a, requestOf(a, requests, 0), weights, unit);
      }
      // Written on all ways, like weights.
      Inputs inputs = {};
      int warp = thisThread() / 32;
      if (!STAGED && warp < WARPS) {
        inputs.open(requestOf(a, requests, 0), unit, x, warp, thisThread() % 32);
        // Looks for a part alone until it is there, so that those who write are not held up.
        do inputs.words[0][0] = inputs.fetch(0, 0, warp); while (awaits && __any_sync(~0u, !written(inputs.words[0][0])));
        #pragma unroll
        for (int i = 1; i < AHEAD * NT; i++) inputs.words[i / NT][i % NT] = inputs.fetch(i / NT, i % NT, warp);
      }
      int count = countOf(a);
      #pragma unroll 1
      for (int i = 0; i < count; i++)
        multiply(a, requests, i, count, unit, x, out, awaits, layer, shared, products, buffer, squares, inputs, arrived, brought);
      if (Weights::SHARED) *brought += 1;
    }
  }

  DEVICE void multiply(const LayersArgs& a, const Request* requests, int index, int count, int unit, const num16* x, num16* out,
      bool awaits, int layer, u8* shared, float4* products, int& buffer, Squares* squares, Inputs& inputs, u64* arrived,
      u32* brought) {
    constexpr bool STAGED = OUTPUT_WARPS > 1;
    // Of queries, which attention has done with.
    uint4* stages = (uint4*)(shared + Q_AT);
    int thread = thisThread(), warp = thread / 32, lane = thread % 32, g = lane / 4, q = lane % 4;
    Request of = requestOf(a, requests, index);
    int token0 = of.begin + unit % SHARES * NT * 8;
    if (STAGED) {
      syncWorkers();
      stage(x, token0, of.end, stages);
    }
    int ow = warp / INPUT_WARPS, iw = warp % INPUT_WARPS, first = iw * PER_WARP;
    float d[EACH][NT][4] = {};
    float square[NT] = {};
    // Turns with the sums: the last of one unit and the first of the next are two.
    static_assert(BUFFERS == 1 || ROUNDS % 2 == 1, "Buffers take turns");
    int slot = BUFFERS == 2 ? buffer : 0;
    Early later[2];
    if (REQUESTS > 1) later[0] = later[1] = {};
    if (warp < WARPS) {
      auto fetch = [&](int p, int n) {
        if (STAGED) return EXACT || first + p < STEPS ? stages[staged(n * 8 + g, (first + p) * 4 + q)] : make_uint4(0, 0, 0, 0);
        return inputs.fetch(p, n, warp);
      };
      auto missing = [&](const uint4& v) { return !STAGED && awaits && __any_sync(~0u, !written(v)); };
      #pragma unroll
      for (int i = 0; i < AHEAD * NT; i++) {
        uint4& word = inputs.words[i / NT][i % NT];
        if (STAGED) word = fetch(i / NT, i % NT);
        // The first of the first request has been looked at.
        while ((i > 0 || REQUESTS > 1) && missing(word)) word = fetch(i / NT, i % NT);
      }
      if (Weights::SHARED) barrierWait(arrived, *brought & 1);
      #pragma unroll
      for (int p = 0; p < PER_WARP; p++) {
        uint4 v[NT];
        #pragma unroll
        for (int n = 0; n < NT; n++) {
          v[n] = inputs.words[p % AHEAD][n];
          while (p >= AHEAD && missing(v[n])) v[n] = fetch(p, n);
          if (NORM && ow == 0) {
            u32 pairs[4] = {v[n].x, v[n].y, v[n].z, v[n].w};
            #pragma unroll
            for (int i = 0; i < 4; i++) {
              float s = low16(pairs[i]), t = high16(pairs[i]);
              square[n] += s * s;
              square[n] += t * t;
            }
          }
          if (p + AHEAD < PER_WARP) inputs.words[p % AHEAD][n] = fetch(p + AHEAD, n);
        }
        if (Weights::SHARED && !EXACT && first + p >= STEPS) continue;
        #pragma unroll
        for (int t = 0; t < EACH; t++) {
          uint4 low, high;
          if constexpr (Weights::SHARED) {
            int in = (first + p) * 64 + q * 16;
            low = *(const uint4*)(shared + rowAt(t * 16 + g) + in);
            high = *(const uint4*)(shared + rowAt(t * 16 + 8 + g) + in);
          } else {
            low = w[p][0];
            high = w[p][1];
          }
          #pragma unroll
          for (int n = 0; n < NT; n++) {
            mma(d[t][n], low.x, high.x, low.y, high.y, v[n].x, v[n].y);
            mma(d[t][n], low.z, high.z, low.w, high.w, v[n].z, v[n].w);
          }
        }
      }
      if (REQUESTS > 1 && !STAGED && index + 1 < count) {
        inputs.open(requestOf(a, requests, index + 1), unit, x, warp, lane);
        #pragma unroll
        for (int i = 0; i < AHEAD * NT; i++) inputs.words[i / NT][i % NT] = inputs.fetch(i / NT, i % NT, warp);
      }
    }
    if (REQUESTS > 1 && index + 1 < count) loadEarly(a, requestOf(a, requests, index + 1), unit, warp, lane, later);
    #pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
      // What is there has been read.
      if (BUFFERS == 1) syncWorkers();
      float4* sums = products + buffer * (BUFFER_BYTES / 16);
      if (BUFFERS == 2) buffer ^= 1;
      if (warp < WARPS) {
        #pragma unroll
        for (int n = 0; n < NT; n++) {
          #pragma unroll
          for (int t = 0; t < TOGETHER; t++) {
            float (&sum)[4] = d[round * TOGETHER + t][n];
            sums[((iw * IN_ROUND + ow * TOGETHER + t) * NT + n) * 32 + lane] = make_float4(sum[0], sum[1], sum[2], sum[3]);
          }
          if (NORM && ow == 0 && round == 0) {
            square[n] += __shfl_xor_sync(~0u, square[n], 1);
            square[n] += __shfl_xor_sync(~0u, square[n], 2);
            if (q == 0) squares[slot][iw][n * 8 + g] = square[n];
          }
        }
      }
      syncWorkers();
      int tile = unit / SHARES * PER_UNIT + round * TOGETHER + warp / NT, inUnit = warp % NT * 8 + 2 * q;
      if (warp < IN_ROUND * NT && tile < TILES) {
        float4 sum = make_float4(0, 0, 0, 0);
        float square0 = 0, square1 = 0;
        #pragma unroll
        for (int k = 0; k < INPUT_WARPS; k++) {
          float4 v = sums[(k * IN_ROUND * NT + warp) * 32 + lane];
          sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
          if (NORM) {
            square0 += squares[slot][k][inUnit];
            square1 += squares[slot][k][inUnit + 1];
          }
        }
        if (NORM) {
          constexpr float PART = 1.0f / INPUTS;
          float scale0 = rsqrtf(square0 * PART + a.epsilon), scale1 = rsqrtf(square1 * PART + a.epsilon);
          sum.x *= scale0; sum.z *= scale0;
          sum.y *= scale1; sum.w *= scale1;
        }
        float low[2] = {sum.x, sum.y}, high[2] = {sum.z, sum.w};
        store(a, out, layer, lane, firstOutput(tile) + g, token0 + inUnit, of.end, low, high);
      }
    }
    if (REQUESTS > 1) {
      early[0] = later[0];
      early[1] = later[1];
    }
  }
};

typedef Product<QKV, QKV_WIDTH, HIDDEN, 1, inputWarps(HIDDEN / 32), 3> Queries;
typedef Product<RESIDUAL, HIDDEN, ATTENTION_WIDTH, 1, inputWarps(ATTENTION_WIDTH / 32), 2> Output;

template <bool SHARED> struct FeedForward {
  typedef Product<SWIGLU, 2 * FEED_FORWARD, HIDDEN, 3, 4, 3> GateUp;
  typedef Product<RESIDUAL, HIDDEN, FEED_FORWARD, 1, inputWarps(FEED_FORWARD / 32), 2> Down;
  static_assert(GateUp::NT * 8 * HIDDEN * 2 <= QUERY_BYTES, "Tokens take the place of queries");
};

template <> struct FeedForward<true> {
  typedef Product<SWIGLU, 2 * FEED_FORWARD, HIDDEN, 1, inputWarps(HIDDEN / 32), 3, 3,
      InShared<Q_AT, rowsThere(HIDDEN), REST_AT>> GateUp;
  typedef Product<RESIDUAL, HIDDEN, FEED_FORWARD, 1, inputWarps(FEED_FORWARD / 32), 2, 1,
      InShared<Q_AT, rowsThere(FEED_FORWARD), REST_AT>> Down;
  static_assert(GateUp::WARPS * GateUp::PIECES / GateUp::ROUNDS * 512 <= (REQUESTS == 1 ? QUERY_BYTES : BUFFER_BYTES),
      "Sums take the place of queries");
};

typedef FeedForward<WEIGHTS_AHEAD>::GateUp GateUp;
typedef FeedForward<WEIGHTS_AHEAD>::Down Down;

// Makes a set unwritten, each block its share.
DEVICE void clear(Set* set) {
  static_assert(sizeof(Set) % 16 == 0, "A set is cleared 16 bytes at a time");
  uint4 nothing = make_uint4(UNWRITTEN, UNWRITTEN, UNWRITTEN, UNWRITTEN);
  for (u32 i = thisBlock() * WORKERS + thisThread(); i < sizeof(Set) / 16; i += gridDim.x * WORKERS) ((uint4*)set)[i] = nothing;
}

static_assert(Output::UNITS == Down::UNITS && Output::NT == Down::NT, "A number of the residual is one thread's alone");

// Warps that share the parts of a row, whose halves take turns; parts that a half takes at a time.
constexpr int MERGE_WARPS = 3, MERGE_MOST = 8, MERGE_CHUNK = 2 * MERGE_WARPS * MERGE_MOST;
static_assert(MERGE_CHUNK <= 64 && WORKER_WARPS % MERGE_WARPS == 0, "Two weights a lane");

// A row whose parts are put together. What each half of each of the warps that share it sums up, and in which order, is the same
// whether those are three warps or one that does it all.
struct MergedRow {
  static constexpr int GROUP = HEADS / KV_HEADS, STRIDE = KV_HEADS * ROWS;
  const float2* sums;
  const float4* parts;       // of this lane's four channels
  int lane, count;
  float top = -INFINITE, total = 0;
  float weight[2];

  DEVICE MergedRow(const LayersArgs& a, const Request& of, int row, int head, int ofLane) : lane(ofLane) {
    MergeItem item = a.attention.merges[of.merge + row / ROWS];
    u64 at = ((u64)item.firstPartial * KV_HEADS + head) * ROWS + row % ROWS;
    sums = a.attention.partialSums + at;
    parts = (const float4*)(a.attention.partialOut + at * HEAD_SIZE) + lane % 16;
    count = item.count;
  }

  // What lies beyond the first chunk.
  DEVICE void look() {
    #pragma unroll 1
    for (int i = MERGE_CHUNK + lane; i < count; i += 32) top = fmaxf(top, __ldcg(sums + (u64)i * STRIDE).x);
  }

  DEVICE void request(int from, float2 (&part)[2]) const {
    #pragma unroll
    for (int c = 0; c < 2; c++) {
      int in = c * 32 + lane, i = from + in;
      part[c] = in < MERGE_CHUNK && i < count ? __ldcg(sums + (u64)i * STRIDE) : make_float2(-INFINITE, 0);
    }
  }

  DEVICE int part(int j, int share) const { return (j * MERGE_WARPS + share) * 2 + lane / 16; }

  DEVICE void request(int from, int share, float4 (&v)[MERGE_MOST]) const {
    #pragma unroll
    for (int j = 0; j < MERGE_MOST; j++) {
      int i = from + part(j, share);
      v[j] = i < count ? __ldcg(parts + (u64)i * (STRIDE * HEAD_SIZE / 4)) : make_float4(0, 0, 0, 0);
    }
  }

  DEVICE void weigh(int from, const float2 (&part)[2]) {
    if (from == 0) top = warpMax(fmaxf(top, fmaxf(part[0].x, part[1].x)));
    #pragma unroll
    for (int c = 0; c < 2; c++) {
      weight[c] = power2(part[c].x - top);
      total += part[c].y * weight[c];
    }
  }

  DEVICE void add(int share, const float4 (&v)[MERGE_MOST], float4& sum) const {
    #pragma unroll
    for (int j = 0; j < MERGE_MOST; j++) {
      int in = part(j, share);
      float early = __shfl_sync(~0u, weight[0], in % 32), late = __shfl_sync(~0u, weight[1], in % 32);
      float by = in < 32 ? early : late;
      sum.x += v[j].x * by; sum.y += v[j].y * by; sum.z += v[j].z * by; sum.w += v[j].w * by;
    }
  }

  static DEVICE void addHalves(float4& sum) {
    sum.x += __shfl_xor_sync(~0u, sum.x, 16);
    sum.y += __shfl_xor_sync(~0u, sum.y, 16);
    sum.z += __shfl_xor_sync(~0u, sum.z, 16);
    sum.w += __shfl_xor_sync(~0u, sum.w, 16);
  }

  static DEVICE num16* place(num16* out, const Request& of, int row, int head) {
    return out + ((of.begin + row / GROUP) * HEADS + head * GROUP + row % GROUP) * HEAD_SIZE;
  }
};

// The rows of a last block, three warps a row. All that is loaded is requested before any of it is used. ready() waits for what
// leaves the parts.
template <typename Ready>
DEVICE void mergeParts(const LayersArgs& a, const Request& of, num16* out, float4 (*shares)[16], Ready ready) {
  constexpr int AT_ONCE = WORKER_WARPS / MERGE_WARPS;
  int warp = thisThread() / 32, lane = thisThread() % 32, share = warp % MERGE_WARPS, slot = warp / MERGE_WARPS;
  int perHead = (of.end - of.begin) * MergedRow::GROUP, all = of.merge < 0 ? 0 : perHead * KV_HEADS;
  bool waits = true;
  #pragma unroll 1
  for (int w = thisBlock() * AT_ONCE + slot; w < all; w += gridDim.x * AT_ONCE) {
    int head = w / perHead, row = w % perHead;
    MergedRow merged(a, of, row, head, lane);
    if (waits) ready();
    waits = false;
    merged.look();
    float4 sum = make_float4(0, 0, 0, 0);
    #pragma unroll 1
    for (int from = 0; from < merged.count; from += MERGE_CHUNK) {
      float2 part[2];
      float4 v[MERGE_MOST];
      merged.request(from, part);
      merged.request(from, share, v);
      merged.weigh(from, part);
      merged.add(share, v, sum);
    }
    float total = warpSum(merged.total);
    MergedRow::addHalves(sum);
    if (lane < 16) shares[warp][lane] = sum;
    asm volatile("bar.sync %0, %1;" :: "r"(3 + slot), "n"(MERGE_WARPS * 32) : "memory");
    if (share == 0) {
      float factor = 1.0f / total;
      float2 mixed = make_float2(0, 0);
      #pragma unroll
      for (int k = 0; k < MERGE_WARPS; k++) {
        float2 x = ((const float2*)shares[warp + k])[lane];
        mixed.x += x.x; mixed.y += x.y;
      }
      storeWord(MergedRow::place(out, of, row, head) + 2 * lane, pack16(mixed.x * factor, mixed.y * factor));
    }
    asm volatile("bar.sync %0, %1;" :: "r"(3 + slot), "n"(MERGE_WARPS * 32) : "memory");
  }
  if (waits) ready();
}

// The rows of several last blocks, a warp a row: there are enough of them.
DEVICE void mergeTogether(const LayersArgs& a, const Request* requests, num16* out, u32 expected) {
  int lane = thisThread() % 32, last = countOf(a), seen = -1, first = 0;
  Request of = requestOf(a, requests, 0);
  int index = 0;
  #pragma unroll 1
  for (int w = thisBlock() * WORKER_WARPS + thisThread() / 32;; w += gridDim.x * WORKER_WARPS) {
    int rows;
    while (w - first >= (rows = of.merge < 0 ? 0 : (of.end - of.begin) * HEADS)) {
      first += rows;
      if (++index == last) return;
      of = requestOf(a, requests, index);
    }
    int perHead = (of.end - of.begin) * MergedRow::GROUP, head = (w - first) / perHead, row = (w - first) % perHead;
    MergedRow merged(a, of, row, head, lane);
    if (index != seen) {
      if (lane == 0) awaitBlocks(&a.met->attended[index], expected);
      __syncwarp();
      seen = index;
    }
    merged.look();
    float4 sums[MERGE_WARPS] = {};
    #pragma unroll 1
    for (int from = 0; from < merged.count; from += MERGE_CHUNK) {
      float2 part[2];
      float4 v[MERGE_MOST];
      merged.request(from, part);
      merged.request(from, 0, v);
      merged.weigh(from, part);
      merged.add(0, v, sums[0]);
      #pragma unroll
      for (int share = 1; share < MERGE_WARPS; share++) {
        merged.request(from, share, v);
        merged.add(share, v, sums[share]);
      }
    }
    float factor = 1.0f / warpSum(merged.total);
    float4 mixed = make_float4(0, 0, 0, 0);
    #pragma unroll
    for (int k = 0; k < MERGE_WARPS; k++) {
      MergedRow::addHalves(sums[k]);
      mixed.x += sums[k].x; mixed.y += sums[k].y; mixed.z += sums[k].z; mixed.w += sums[k].w;
    }
    float2 mine = lane < 16 ? make_float2(mixed.x, mixed.y) : make_float2(mixed.z, mixed.w);
    storeWord(MergedRow::place(out, of, row, head) + lane % 16 * 4 + lane / 16 * 2, pack16(mine.x * factor, mine.y * factor));
  }
}

// Weights that are brought into shared memory.
struct Brought {
  u64 gateUp;
  u64 down;
};

DEVICE void runLayers(
    const LayersArgs& a, const Request* requests, u8* shared, Barriers* barriers, Brought* arrived) {
  __shared__ Squares squares[BUFFERS];
  float4* products = (float4*)(shared + PRODUCTS_AT);
  float4* gateProducts = WEIGHTS_AHEAD && REQUESTS == 1 ? (float4*)(shared + Q_AT) : products;
  u32 blocks = gridDim.x;
  if (threadIdx.x >= WORKERS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 104;");
    // Queries of several requests have long been there when they are needed.
    Loader<INT8, REQUESTS == 1> loader(a.attention, shared, barriers, *a.attention.itemCount * KV_HEADS);
    #pragma unroll 1
    for (int layer = 0; layer < a.layers; layer++) {
      bool free = layer == 0;
      loader.run(layer, a.sets[layer % 3].q, false, [&](bool kept) {
        if (!free) awaitStages();
        free = true;
        // Before all have met in the layer before, the set may hold what an earlier layer left.
        if (threadIdx.x == WORKERS) {
          awaitBlocks(&a.met->attended[countOf(a) - 1], layer * blocks);
          if (kept || REQUESTS > 1) awaitBlocks(&a.met->kept, (layer + 1) * blocks);
        }
        syncLoaders();
      });
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 136;");
  Turn turn;
  int uses = 0;
  u32 gatesBrought = 0, downsBrought = 0;
  int buffer = 0;
  #pragma unroll 1
  for (int layer = 0; layer < a.layers; layer++) {
    LayerWeights weights = a.weights[layer];
    Set* set = a.sets + layer % 3;
    const num16* x = layer == 0 ? a.x : a.sets[(layer - 1) % 3].x;
    {
      Queries queries;
      queries.request(a, requestOf(a, requests, 0), weights.qkv, thisBlock());
      queries.run(a, requests, weights.qkv, x, set->q, layer > 0, layer, shared, products, buffer, squares);
    }
    arrive(&a.met->kept);
    AttentionArgs attention = a.attention;
    attention.out = set->mixed;
    int item = blockIdx.x;
    #pragma unroll 1
    for (int i = 0; i < countOf(a); i++) {
      int end = requestOf(a, requests, i).items * KV_HEADS;
      multiplyItems(attention, sharedAddress(shared), barriers, item, end, turn, uses);
      arrive(&a.met->attended[i]);
    }
    // All have done with queries.
    if (WEIGHTS_AHEAD) {
      GateUp::bring(weights.gateUp, thisBlock(), shared, &arrived->gateUp);
      Down::prefetchAll(weights.down, thisBlock());
    }
    Output output;
    output.request(a, requestOf(a, requests, 0), weights.attentionOutput, thisBlock());
    u32 expected = (layer + 1) * blocks;
    if (REQUESTS == 1) {
      mergeParts(a, requestOf(a, requests, 0), set->mixed, (float4(*)[16])products, [&] { meet(a.met->attended, expected); });
    } else {
      mergeTogether(a, requests, set->mixed, expected);
      meet(&a.met->attended[countOf(a) - 1], expected);
    }
    output.run(a, requests, weights.attentionOutput, set->mixed, set->between, true, layer, shared, products, buffer, squares);
    {
      GateUp gateUp;
      gateUp.request(a, requestOf(a, requests, 0), weights.gateUp, thisBlock());
      // Its last words were for queries of this layer, which all have ended.
      if (layer > 0) clear(a.sets + (layer - 1) % 3);
      gateUp.run(a, requests, weights.gateUp, set->between, set->inner, true, layer, shared, gateProducts, buffer, squares,
          &arrived->gateUp, &gatesBrought);
    }
    {
      if (WEIGHTS_AHEAD) {
        readyToBring();
        Down::bring(weights.down, thisBlock(), shared, &arrived->down);
      }
      Down down;
      down.request(a, requestOf(a, requests, 0), weights.down, thisBlock());
      down.run(a, requests, weights.down, set->inner, layer + 1 < a.layers ? set->x : a.x, true, layer, shared, products,
          buffer, squares, &arrived->down, &downsBrought);
      if (layer + 1 < a.layers) freeStages();
    }
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void layers(const __grid_constant__ LayersArgs a) {
  extern __shared__ u8 unaligned[];
  __shared__ Barriers barriers;
  __shared__ Brought brought;
  __shared__ __align__(16) Request requests[REQUESTS];
  u8* shared = unaligned + ((1024 - (sharedAddress(unaligned) & 1023)) & 1023);
  if (threadIdx.x == 0) {
    initBarriers<INT8>(barriers);
    barrierInit(&brought.gateUp, 1);
    barrierInit(&brought.down, 1);
  }
  if (REQUESTS > 1 && threadIdx.x < countOf(a)) requests[threadIdx.x] = a.requests[threadIdx.x];
  __syncthreads();
  runLayers(a, requests, shared, &barriers, &brought);
  // Nobody looks at the count any more when all blocks have come here.
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(&a.met->ended, 1) == gridDim.x - 1) *a.met = {};
}
