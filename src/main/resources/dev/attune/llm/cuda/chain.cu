#include "attention.cuh"

// The products between the attention of one layer and that of the next, in one kernel, for few tokens of models with large
// matrices: output, gate and up, down; queries, keys and values. Streaming the weights is all that takes time. One block a
// multiprocessor stays; its loader of weights runs ahead into the next products, which nothing but memory holds up, so that
// weights arrive while blocks wait for each other. Weights are the left operand of wgmma, 128 bytes of each output of a tile a
// step; tokens are the right one, 64 inputs a step.
//
// Gate and up: a block has all inputs of a tile. Otherwise blocks share the inputs of a tile and leave parts of its sums in
// memory, which, when all blocks have, are put together in the order of the inputs. Before the first, parts of attention are. RMSNorm is a factor per token, as in the
// other products; sums of squares come in parts of 128 outputs.
//
// With FP8, weights are E4M3 with a scale for each output, in the order of quantise_rows: a thread finds those of four products
// side by side. They become num16 in the registers that wgmma takes them from; tokens are num16.
//
// Compiled for FP8 (0 or 1), TOKENS (16, 32, 48 or 64), W_STAGES, X_STAGES, HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FEED_FORWARD and,
// by phase, TILE_ROWS (outputs of a tile, 256 at most) and SPLITS (blocks that share a tile's inputs, 1 for gate and up).

constexpr int MOST_ROWS = 256, GROUPS = MOST_ROWS / 64;
constexpr int WORKERS = GROUPS * 128, THREADS = WORKERS + 128;
#include "blocks.cuh"
constexpr int W_BYTES = MOST_ROWS * 128, DEPTH = FP8 ? 128 : 64;
constexpr int X_INPUTS = 64, X_BYTES = TOKENS * 128, PIECES = DEPTH / X_INPUTS;
// Outputs that a warp finishes at once, a part of sums of squares.
constexpr int PART = 128;
constexpr int MAX_TOKENS = 64, MOST_SPLITS = 8;

enum Phase { OUTPUT, GATE_UP, DOWN, QKV };

constexpr int ATTENTION_WIDTH = HEADS * HEAD_SIZE, QKV_WIDTH = (HEADS + 2 * KV_HEADS) * HEAD_SIZE;

__constant__ int rowsOf[] = {TILE_ROWS}, splitsOf[] = {SPLITS};

DEVICE int inputsOf(int phase) { return phase == OUTPUT ? ATTENTION_WIDTH : phase == DOWN ? FEED_FORWARD : HIDDEN; }
DEVICE int outputsOf(int phase) { return phase == QKV ? QKV_WIDTH : phase == GATE_UP ? 2 * FEED_FORWARD : HIDDEN; }

// Numbers of blocks, zero before and after.
struct Met {
  u32 arrived;
  u32 ended;
};

struct ChainMaps {
  TensorMap weights[4];     // by phase
  TensorMap mixed;          // [token][ATTENTION_WIDTH]
  TensorMap x;              // [token][HIDDEN]
  TensorMap inner;          // [token][FEED_FORWARD]
};

struct ChainArgs {
  int first;                // phases
  int last;
  int tokens;
  int layer;                // of the queries, keys and values
  int merging;              // whether attention left parts
  float epsilon;
  int squareParts;          // that a chain of queries, keys and values alone finds
  float* squares;           // [HIDDEN / PART][MAX_TOKENS]
  float* residual;          // [token][HIDDEN], added to
  num16* x;                  // [token][HIDDEN]: the residual, rounded
  num16* inner;              // [token][FEED_FORWARD]
  num16* q;                  // [token][ATTENTION_WIDTH]
  const Row* rows;          // of KV
  const int* positions;
  const float2* rope;
  float* parts;             // [split][TOKENS][outputs]
  Met* met;
  const float* scales[4];   // of outputs, by phase, for FP8
};

#if TOKENS == 16
#define OPERATION "wgmma.mma_async.sync.aligned.m64n16k16.f32." NUMBERS " {%0, %1, %2, %3, %4, %5, %6, %7}, "
#define SUMS                                                                                             \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define P0 "%8"
#define P1 "%9"
#define P2 "%10"
#define P3 "%11"
#define P4 "%12"
#define P5 "%13"
#elif TOKENS == 32
#define OPERATION                                                                                        \
  "wgmma.mma_async.sync.aligned.m64n32k16.f32." NUMBERS " {"                                               \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
#define SUMS                                                                                             \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),        \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define P0 "%16"
#define P1 "%17"
#define P2 "%18"
#define P3 "%19"
#define P4 "%20"
#define P5 "%21"
#elif TOKENS == 48
#define OPERATION                                                                                        \
  "wgmma.mma_async.sync.aligned.m64n48k16.f32." NUMBERS " {"                                               \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                               \
  "%16, %17, %18, %19, %20, %21, %22, %23}, "
#define SUMS                                                                                             \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),        \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),  \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define P0 "%24"
#define P1 "%25"
#define P2 "%26"
#define P3 "%27"
#define P4 "%28"
#define P5 "%29"
#elif TOKENS == 64
#define OPERATION                                                                                        \
  "wgmma.mma_async.sync.aligned.m64n64k16.f32." NUMBERS " {"                                               \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                               \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
#define SUMS                                                                                             \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),        \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),  \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
  "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define P0 "%32"
#define P1 "%33"
#define P2 "%34"
#define P3 "%35"
#define P4 "%36"
#define P5 "%37"
#endif

// Weights from shared memory, or from registers.
DEVICE void multiply(float (&d)[TOKENS / 2], u64 w, u64 x, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P2 ", 0;\n" OPERATION P0 ", " P1 ", p, 1, 1, 0, 0;\n}\n"
               : SUMS : "l"(w), "l"(x), "r"(accumulate));
}

DEVICE void multiply(float (&d)[TOKENS / 2], const u32 (&w)[4], u64 x, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P5 ", 0;\n" OPERATION "{" P0 ", " P1 ", " P2 ", " P3 "}, " P4
               ", p, 1, 1, 0;\n}\n"
               : SUMS : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(x), "r"(accumulate));
}

DEVICE void multiplyFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void multiplyCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void multiplyWait() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }

// Bytes 0 and 2, and bytes 1 and 3, of a word of E4M3 codes as two numbers each, exactly.
#if defined(NUMBERS_FP16)
DEVICE void unpackE4m3(u32 word, u32& even, u32& odd) {
  u32 sorted = __byte_perm(word, 0, 0x3120);
  asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %2;\ncvt.rn.f16x2.e4m3x2 %0, low;\ncvt.rn.f16x2.e4m3x2 %1, high;\n}\n"
      : "=r"(even), "=r"(odd) : "r"(sorted));
}
#else
// With the exponent's four bits as the lowest of eight the numbers are 2^-120 of what they should be, those below the smallest
// exponent too.
DEVICE void unpackE4m3(u32 word, u32& even, u32& odd) {
  constexpr u32 SIGNS = 0x80008000u, REST = 0x07f007f0u, POWER = 0x7b807b80u;
  even = multiplyPairs((word << 4 & REST) | (word << 8 & SIGNS), POWER);
  odd = multiplyPairs((word >> 4 & REST) | (word & SIGNS), POWER);
}
#endif

// 16 bytes of the block's memory.
DEVICE uint4 loadBlock16(u32 address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address) : "memory");
  return v;
}

// Of eight rows of a fragment, where the one of a quarter of lanes is: with FP8, such that loads are free of bank conflicts.
DEVICE int rowOf(int g) { return FP8 ? g / 2 + g % 2 * 4 : g; }

struct ChainBarriers {
  u64 wFull[W_STAGES], wEmpty[W_STAGES];
  u64 xFull[X_STAGES], xEmpty[X_STAGES];
};

template <int STAGES> struct Ring {
  int stage = 0, phase = 0;

  DEVICE void next() {
    if (++stage < STAGES) return;
    stage = 0;
    phase ^= 1;
  }
};

// What a block has of a phase: units blockIdx.x, and every gridDim.x after it.
struct Shares {
  int rows, splits, units, steps;

  DEVICE Shares(int phase) {
    rows = rowsOf[phase];
    splits = splitsOf[phase];
    units = (outputsOf(phase) + rows - 1) / rows * splits;
    steps = (inputsOf(phase) + DEPTH - 1) / DEPTH;
  }

  // First output of a unit.
  DEVICE int output(int unit) const { return unit / splits * rows; }
  DEVICE int split(int unit) const { return unit % splits; }
  DEVICE int first(int unit) const { return steps * split(unit) / splits; }
  DEVICE int end(int unit) const { return steps * (split(unit) + 1) / splits; }
};

DEVICE void loadWeights(const ChainMaps& maps, const ChainArgs& a, u32 memory, ChainBarriers& b) {
  Ring<W_STAGES> ring;
  int filled = 0;
  #pragma unroll 1
  for (int phase = a.first; phase <= a.last; phase++) {
    Shares shares(phase);
    #pragma unroll 1
    for (int unit = blockIdx.x; unit < shares.units; unit += gridDim.x) {
      #pragma unroll 1
      for (int step = shares.first(unit); step < shares.end(unit); step++, ring.next()) {
        if (filled >= W_STAGES) barrierWait(&b.wEmpty[ring.stage], ring.phase ^ 1); else filled++;
        barrierExpect(&b.wFull[ring.stage], shares.rows * 128);
        loadTile(memory + ring.stage * W_BYTES, &maps.weights[phase], step * DEPTH, shares.output(unit),
            &b.wFull[ring.stage]);
      }
    }
  }
}

// How often blocks meet in a phase.
DEVICE int meetings(int phase) { return phase == GATE_UP ? 1 : 2; }

DEVICE void loadTokens(const ChainMaps& maps, const ChainArgs& a, u32 memory, ChainBarriers& b) {
  Ring<X_STAGES> ring;
  int filled = 0, met = a.merging;
  #pragma unroll 1
  for (int phase = a.first; phase <= a.last; phase++) {
    if (met) {
      awaitBlocks(&a.met->arrived, met * gridDim.x);
      // What other blocks wrote is read by the accelerator.
      asm volatile("fence.proxy.async;" ::: "memory");
    }
    met += meetings(phase);
    const TensorMap* map = phase == OUTPUT ? &maps.mixed : phase == DOWN ? &maps.inner : &maps.x;
    Shares shares(phase);
    #pragma unroll 1
    for (int unit = blockIdx.x; unit < shares.units; unit += gridDim.x) {
      #pragma unroll 1
      for (int piece = shares.first(unit) * PIECES; piece < shares.end(unit) * PIECES; piece++, ring.next()) {
        if (filled >= X_STAGES) barrierWait(&b.xEmpty[ring.stage], ring.phase ^ 1); else filled++;
        barrierExpect(&b.xFull[ring.stage], X_BYTES);
        loadTile(memory + ring.stage * X_BYTES, map, piece * X_INPUTS, 0, &b.xFull[ring.stage]);
      }
    }
  }
}

DEVICE void storeFour(num16* to, float4 v) {
  *(uint2*)to = make_uint2(pack16(v.x, v.y), pack16(v.z, v.w));
}

DEVICE float4 loadFour(const float* p) {
  uint4 v = loadShared16(p);
  return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w));
}

DEVICE float loadOne(const float* p) {
  float v;
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
  return v;
}

// A lane's share of a token's sum of squares: the first part, which may be requested long before it is used, and the rest.
DEVICE float firstSquares(const ChainArgs& a, int token, int parts, int lane) {
  return lane < parts ? loadOne(a.squares + lane * MAX_TOKENS + token) : 0;
}

DEVICE float normFactor(const ChainArgs& a, float sum, int token, int parts, int lane) {
  for (int i = lane + 32; i < parts; i += 32) sum += loadOne(a.squares + i * MAX_TOKENS + token);
  return rsqrtf(warpSum(sum) / HIDDEN + a.epsilon);
}

// PART outputs of a token, a lane has four of them: what does not depend on the sums, requested before these are there.
struct Finish {
  int phase, token, part, lane;
  float squares;
  float4 before, turn, nextTurn, scale;
  Row place;

  DEVICE int output() const { return part * PART + lane * 4; }

  // The position is known earlier than the rest.
  DEVICE void prepare(const ChainArgs& a, int position, int parts) {
    if (FP8) scale = __ldg((const float4*)(a.scales[phase] + output()));
    if (phase != QKV) {
      before = *(const float4*)(a.residual + (u64)token * HIDDEN + output());
      return;
    }
    squares = firstSquares(a, token, parts, lane);
    place = a.rows[token];
    int d = output() % HEAD_SIZE;
    const float4* turns = (const float4*)(a.rope + (u64)position * (HEAD_SIZE / 2) + d % (HEAD_SIZE / 2));
    turn = turns[0];
    nextTurn = turns[1];
  }

  DEVICE void end(const ChainArgs& a, float4 v, int parts) {
    if (FP8) {
      v.x *= scale.x; v.y *= scale.y; v.z *= scale.z; v.w *= scale.w;
    }
    if (phase != QKV) {
      v.x += before.x; v.y += before.y; v.z += before.z; v.w += before.w;
      u64 at = (u64)token * HIDDEN + output();
      *(float4*)(a.residual + at) = v;
      storeFour(a.x + at, v);
      float square = warpSum(v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w);
      if (lane == 0) a.squares[part * MAX_TOKENS + token] = square;
      return;
    }
    float factor = normFactor(a, squares, token, parts, lane);
    v.x *= factor; v.y *= factor; v.z *= factor; v.w *= factor;
    constexpr int PARTNER = HEAD_SIZE / 8;
    float4 other;
    other.x = __shfl_xor_sync(~0u, v.x, PARTNER);
    other.y = __shfl_xor_sync(~0u, v.y, PARTNER);
    other.z = __shfl_xor_sync(~0u, v.z, PARTNER);
    other.w = __shfl_xor_sync(~0u, v.w, PARTNER);
    int head = output() / HEAD_SIZE, d = output() % HEAD_SIZE;
    if (head < HEADS + KV_HEADS) {
      float sign = lane & PARTNER ? 1.0f : -1.0f;
      v.x = v.x * turn.x + sign * other.x * turn.y;
      v.y = v.y * turn.z + sign * other.y * turn.w;
      v.z = v.z * nextTurn.x + sign * other.z * nextTurn.y;
      v.w = v.w * nextTurn.z + sign * other.w * nextTurn.w;
    }
    if (head < HEADS) {
      storeFour(a.q + ((u64)token * HEADS + head) * HEAD_SIZE + d, v);
      return;
    }
    if (!place.segment) return;
    u64 block = 2 * a.layer * KV_HEADS + head - HEADS;
    storeFour((num16*)place.segment + (block * place.capacity + place.token) * HEAD_SIZE + d, v);
  }
};

// The first of what the warps of all blocks put together, of parts of sums or of attention, that is this warp's.
DEVICE int firstToFinish() { return blockIdx.x * (WORKERS / 32) + threadIdx.x / 32; }

// Puts the parts of a phase's sums together when all blocks, for the `met`th time, have left theirs.
DEVICE void finish(const ChainArgs& a, int phase, int firstPosition, int met) {
  int lane = threadIdx.x % 32, outputs = outputsOf(phase), count = outputs / PART * a.tokens, splits = splitsOf[phase];
  int parts = a.first == QKV ? a.squareParts : HIDDEN / PART;
  int at = firstToFinish();
  Finish f;
  f.phase = phase;
  f.lane = lane;
  f.part = at / a.tokens;
  f.token = at % a.tokens;
  if (at < count) f.prepare(a, firstPosition, parts);
  arrive(&a.met->arrived);
  meet(&a.met->arrived, met * gridDim.x);
  #pragma unroll 1
  while (at < count) {
    const float* from = a.parts + (u64)f.token * outputs + f.output();
    float4 v[MOST_SPLITS], sum = make_float4(0, 0, 0, 0);
    #pragma unroll
    for (int i = 0; i < MOST_SPLITS; i++)
      v[i] = i < splits ? loadFour(from + (u64)i * TOKENS * outputs) : make_float4(0, 0, 0, 0);
    #pragma unroll
    for (int i = 0; i < MOST_SPLITS; i++) {
      sum.x += v[i].x; sum.y += v[i].y; sum.z += v[i].z; sum.w += v[i].w;
    }
    f.end(a, sum, parts);
    at += gridDim.x * (WORKERS / 32);
    if (at >= count) break;
    f.part = at / a.tokens;
    f.token = at % a.tokens;
    f.prepare(a, a.positions[f.token], parts);
  }
}

// The rings of a block's warps that multiply.
struct Reading {
  Ring<W_STAGES> w;
  Ring<X_STAGES> x;
};

#if FP8
DEVICE void multiplySteps(float (&d)[TOKENS / 2], int steps, u32 memory, ChainBarriers& b, Reading& at) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, q = lane % 4, r = rowOf(lane / 4);
  // Eight rows further the swizzle is the same.
  u32 row = memory + (warp * 16 + r) * 128;
  u32 w[2][4][4];
  int before = -1;
  #pragma unroll 1
  for (int step = 0; step < steps; step++) {
    barrierWait(&b.wFull[at.w.stage], at.w.phase);
    #pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 from = row + at.w.stage * W_BYTES + (((half * 4 + q) ^ r) << 4);
      uint4 low = loadBlock16(from), high = loadBlock16(from + 1024);
      if (half == 1) {
        __syncwarp();
        if (lane == 0) barrierArrive(&b.wEmpty[at.w.stage]);
      }
      u32 lows[4] = {low.x, low.y, low.z, low.w}, highs[4] = {high.x, high.y, high.z, high.w};
      #pragma unroll
      for (int k = 0; k < 4; k++) {
        unpackE4m3(lows[k], w[half][k][0], w[half][k][2]);
        unpackE4m3(highs[k], w[half][k][1], w[half][k][3]);
      }
      barrierWait(&b.xFull[at.x.stage], at.x.phase);
      u64 x = descriptor(memory + W_STAGES * W_BYTES + at.x.stage * X_BYTES);
      multiplyFence();
      #pragma unroll
      for (int k = 0; k < 4; k++) multiply(d, w[half][k], x + k * 2, step > 0 || half > 0 || k > 0);
      multiplyCommit();
      // The half before has been multiplied: its registers and its tokens are free.
      multiplyWait<1>();
      if (before >= 0 && threadIdx.x % 128 == 0) barrierArrive(&b.xEmpty[before]);
      before = at.x.stage;
      at.x.next();
    }
    at.w.next();
  }
  multiplyWait<0>();
  if (threadIdx.x % 128 == 0) barrierArrive(&b.xEmpty[before]);
}
#else
DEVICE void multiplySteps(float (&d)[TOKENS / 2], int steps, u32 memory, ChainBarriers& b, Reading& at) {
  int wBefore = -1, xBefore = -1;
  auto free = [&] {
    if (wBefore >= 0 && threadIdx.x % 128 == 0) {
      barrierArrive(&b.wEmpty[wBefore]);
      barrierArrive(&b.xEmpty[xBefore]);
    }
  };
  #pragma unroll 1
  for (int step = 0; step < steps; step++) {
    barrierWait(&b.wFull[at.w.stage], at.w.phase);
    barrierWait(&b.xFull[at.x.stage], at.x.phase);
    u64 w = descriptor(memory + at.w.stage * W_BYTES + threadIdx.x / 128 * 64 * 128);
    u64 x = descriptor(memory + W_STAGES * W_BYTES + at.x.stage * X_BYTES);
    multiplyFence();
    #pragma unroll
    for (int k = 0; k < 4; k++) multiply(d, w + k * 2, x + k * 2, step > 0 || k > 0);
    multiplyCommit();
    multiplyWait<1>();
    free();
    wBefore = at.w.stage;
    xBefore = at.x.stage;
    at.w.next();
    at.x.next();
  }
  multiplyWait<0>();
  free();
}
#endif

// d[4 j + 2 h + e]: token 8 j + 2 (lane % 4) + e, output h * 8 + rowOf(lane / 4) of the warp.
DEVICE void storePart(const ChainArgs& a, const float (&d)[TOKENS / 2], int outputs, int output, int split) {
  int lane = threadIdx.x % 32;
  float* to = a.parts + ((u64)split * TOKENS + 2 * (lane % 4)) * outputs + output + rowOf(lane / 4);
  #pragma unroll
  for (int j = 0; j < TOKENS / 8; j++) {
    #pragma unroll
    for (int i = 0; i < 4; i++) to[(u64)(8 * j + i % 2) * outputs + i / 2 * 8] = d[4 * j + i];
  }
}

// Gate and up alternate in groups of eight outputs, so a thread has both. Words of two outputs are exchanged with the lane that
// has the next row.
DEVICE void storeSwiglu(
    const ChainArgs& a, const float (&d)[TOKENS / 2], int output, float gateScale, float upScale, const float* factors) {
  int lane = threadIdx.x % 32, q = lane % 4, r = rowOf(lane / 4), odd = r & 1;
  num16* to = a.inner + output / 2 + (r & ~1);
  #pragma unroll
  for (int j = 0; j < TOKENS / 8; j++) {
    float v[2];
    #pragma unroll
    for (int e = 0; e < 2; e++) {
      float factor = factors[8 * j + 2 * q + e];
      v[e] = silu(d[4 * j + e] * (factor * gateScale)) * (d[4 * j + 2 + e] * (factor * upScale));
    }
    float other = __shfl_xor_sync(~0u, odd ? v[0] : v[1], FP8 ? 8 : 4);
    int token = 8 * j + 2 * q + odd;
    if (token < a.tokens)
      *(u32*)(to + (u64)token * FEED_FORWARD) = odd ? pack16(other, v[1]) : pack16(v[0], other);
  }
}

// What this block wrote is there for the accelerators of all.
DEVICE void arriveWritten(u32* met) {
  asm volatile("fence.proxy.async;" ::: "memory");
  arrive(met);
}

DEVICE void multiplyPhases(const ChainArgs& a, const MergeArgs& merge, u32 memory, ChainBarriers& b, float* factors) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, met = a.merging;
  if (a.merging) {
    mergeTiles<HEAD_SIZE, 1>(merge, firstToFinish(), gridDim.x * (WORKERS / 32), 0, 0, (float(*)[HEAD_SIZE])0,
        [] { waitForPrevious(); });
    arriveWritten(&a.met->arrived);
  } else {
    waitForPrevious();
  }
  int position = a.positions[firstToFinish() % a.tokens];
  Reading at;
  #pragma unroll 1
  for (int phase = a.first; phase <= a.last; phase++) {
    Shares shares(phase);
    int outputs = outputsOf(phase);
    float squares[TOKENS / 16];
    if (blockIdx.x >= shares.units) {
      // Nothing to do, but not to come to the next meeting before this one is over.
      meet(&a.met->arrived, met * gridDim.x);
    } else if (phase == GATE_UP) {
      // The tokens are there, so are their sums of squares.
      barrierWait(&b.xFull[at.x.stage], at.x.phase);
      #pragma unroll
      for (int i = 0; i < TOKENS / 16; i++) squares[i] = firstSquares(a, warp + 16 * i, HIDDEN / PART, lane);
    }
    #pragma unroll 1
    for (int unit = blockIdx.x; unit < shares.units; unit += gridDim.x) {
      // The first of the 16 outputs of this warp, which may lie behind those of the tile.
      int output = shares.output(unit) + warp * 16;
      bool live = warp * 16 < shares.rows && output < outputs;
      float gateScale = 1, upScale = 1;
      if (FP8 && phase == GATE_UP && live) {
        gateScale = __ldg(a.scales[GATE_UP] + output + rowOf(lane / 4));
        upScale = __ldg(a.scales[GATE_UP] + output + 8 + rowOf(lane / 4));
      }
      float d[TOKENS / 2];
      multiplySteps(d, shares.end(unit) - shares.first(unit), memory, b, at);
      if (phase != GATE_UP) {
        if (live) storePart(a, d, outputs, output, shares.split(unit));
        continue;
      }
      if (unit == blockIdx.x) {
        #pragma unroll
        for (int i = 0; i < TOKENS / 16; i++) {
          float factor = normFactor(a, squares[i], warp + 16 * i, HIDDEN / PART, lane);
          if (lane == 0) factors[warp + 16 * i] = factor;
        }
        syncWorkers();
      }
      if (live) storeSwiglu(a, d, output, gateScale, upScale, factors);
    }
    if (phase != GATE_UP) finish(a, phase, position, ++met);
    met++;
    if (phase == a.last) break;
    arriveWritten(&a.met->arrived);
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void chain(
    const __grid_constant__ ChainMaps maps, const __grid_constant__ ChainArgs a, const __grid_constant__ MergeArgs merge) {
  extern __shared__ u8 unaligned[];
  __shared__ ChainBarriers barriers;
  __shared__ float factors[TOKENS];
  u32 memory = (sharedAddress(unaligned) + 1023) & ~1023u;
  if (threadIdx.x == 0) {
    for (int i = 0; i < W_STAGES; i++) {
      barrierInit(&barriers.wFull[i], 1);
      barrierInit(&barriers.wEmpty[i], FP8 ? WORKERS / 32 : GROUPS);
    }
    for (int i = 0; i < X_STAGES; i++) {
      barrierInit(&barriers.xFull[i], 1);
      barrierInit(&barriers.xEmpty[i], GROUPS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x >= WORKERS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
    if (threadIdx.x == WORKERS) {
      // Weights are requested before the kernel before has ended, which writes the tokens.
      loadWeights(maps, a, memory, barriers);
    } else if (threadIdx.x == WORKERS + 32) {
      waitForPrevious();
      releaseNext();
      loadTokens(maps, a, memory + W_STAGES * W_BYTES, barriers);
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 112;");
    multiplyPhases(a, merge, memory, barriers, factors);
  }
  // Nobody looks at the count any more when all blocks have come here.
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(&a.met->ended, 1) == gridDim.x - 1) *a.met = {};
}
