// Products of large matrices with the tokens of a last block, where streaming the weights is all that takes time. Weights are
// the left operand of wgmma, 128 outputs a block, brought in by the tensor memory accelerator like the tokens, 64 inputs a
// step; blocks of a cluster share the inputs of their outputs and sum up through shared memory, each for some of the tokens.
// RMSNorm is a factor per token, as in the other products; sums of squares come in parts of 128 outputs.
//
// Compiled for EPILOGUE, TOKENS (16, 32, 48 or 64), SPLIT blocks a cluster, INPUTS, STAGES and HEAD_SIZE.

constexpr int OUTPUTS = 128, DEPTH = 64, CONSUMERS = 2;
constexpr int THREADS = CONSUMERS * 128 + 32;
constexpr int W_BYTES = OUTPUTS * DEPTH * 2, X_BYTES = TOKENS * DEPTH * 2, STAGE_BYTES = W_BYTES + X_BYTES;
// Of a token's sums in shared memory: stores and loads are free of bank conflicts.
constexpr int PITCH = OUTPUTS + 4;
// Of parts of sums of squares.
constexpr int MAX_TOKENS = 64;

struct StreamArgs {
  int tokens;
  float epsilon;
  int squareParts;
  int layer;
  const float* squares;     // [squareParts][MAX_TOKENS]
  bf16* q;                  // [token][heads * HEAD_SIZE]
  const Row* rows;          // of KV
  const int* positions;
  const float2* rope;
  int heads;
  int kvHeads;
  float* residual;          // [token][outputs], added to
  bf16* out;                // [token][outputs] or, for SwiGLU, [token][outputs / 2]
  float* squaresOut;        // [outputs / 128][MAX_TOKENS]
  int outputs;
};

enum Epilogue { QKV, RESIDUAL, SWIGLU };

#if TOKENS == 16
DEVICE void multiply(float (&d)[8], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %10, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7"
      "}, %8, %9, p, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
      : "l"(a), "l"(b), "r"(accumulate));
}
#elif TOKENS == 32
DEVICE void multiply(float (&d)[16], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
      "}, %16, %17, p, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
      : "l"(a), "l"(b), "r"(accumulate));
}
#elif TOKENS == 48
DEVICE void multiply(float (&d)[24], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %26, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n48k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23"
      "}, %24, %25, p, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
      : "l"(a), "l"(b), "r"(accumulate));
}
#elif TOKENS == 64
DEVICE void multiply(float (&d)[32], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "l"(a), "l"(b), "r"(accumulate));
}
#endif

// The sums of four outputs of a token over the blocks of the cluster; where a lane's four lie is up to its lane.
DEVICE float4 clusterSum(u32 sums, int token, int lane) {
  float4 sum = make_float4(0, 0, 0, 0);
  u32 at = sums + (token * PITCH + lane * 4) * 4;
  #pragma unroll
  for (int i = 0; i < SPLIT; i++) {
    float4 v = loadShared4(SPLIT > 1 ? sharedOf(at, i) : at);
    sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
  }
  return sum;
}

DEVICE void storeFour(bf16* to, float4 v) {
  *(uint2*)to = make_uint2(packBf16(v.x, v.y), packBf16(v.z, v.w));
}

// A warp has a token, a lane four outputs.
template <Epilogue E> DEVICE void finish(const StreamArgs& a, int tile, int token, int lane, float4 v) {
  int output = tile * OUTPUTS + lane * 4;
  if (E == RESIDUAL) {
    float4* residual = (float4*)(a.residual + (u64)token * a.outputs + output);
    float4 before = *residual;
    v.x += before.x; v.y += before.y; v.z += before.z; v.w += before.w;
    *residual = v;
    storeFour(a.out + (u64)token * a.outputs + output, v);
    float square = warpSum(v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w);
    if (lane == 0) a.squaresOut[tile * MAX_TOKENS + token] = square;
    return;
  }
  float square = 0;
  for (int i = lane; i < a.squareParts; i += 32) square += a.squares[i * MAX_TOKENS + token];
  float factor = rsqrtf(warpSum(square) / INPUTS + a.epsilon);
  v.x *= factor; v.y *= factor; v.z *= factor; v.w *= factor;
  constexpr int PARTNER = E == QKV ? HEAD_SIZE / 8 : 2;
  float4 other;
  other.x = __shfl_xor_sync(~0u, v.x, PARTNER);
  other.y = __shfl_xor_sync(~0u, v.y, PARTNER);
  other.z = __shfl_xor_sync(~0u, v.z, PARTNER);
  other.w = __shfl_xor_sync(~0u, v.w, PARTNER);
  if (E == SWIGLU) {
    // Gate and up alternate in groups of eight.
    if (lane & PARTNER) return;
    float4 r = make_float4(silu(v.x) * other.x, silu(v.y) * other.y, silu(v.z) * other.z, silu(v.w) * other.w);
    storeFour(a.out + (u64)token * (a.outputs / 2) + tile * (OUTPUTS / 2) + lane / 4 * 8 + lane % 2 * 4, r);
    return;
  }
  int head = output / HEAD_SIZE, d = output % HEAD_SIZE;
  if (head < a.heads + a.kvHeads) {
    const float4* turn = (const float4*)(a.rope + (u64)a.positions[token] * (HEAD_SIZE / 2) + d % (HEAD_SIZE / 2));
    float4 t = turn[0], u = turn[1];
    float sign = lane & PARTNER ? 1.0f : -1.0f;
    v.x = v.x * t.x + sign * other.x * t.y;
    v.y = v.y * t.z + sign * other.y * t.w;
    v.z = v.z * u.x + sign * other.z * u.y;
    v.w = v.w * u.z + sign * other.w * u.w;
  }
  if (head < a.heads) {
    storeFour(a.q + ((u64)token * a.heads + head) * HEAD_SIZE + d, v);
    return;
  }
  Row place = a.rows[token];
  if (!place.segment) return;
  u64 block = 2 * a.layer * a.kvHeads + head - a.heads;
  storeFour((bf16*)place.segment + (block * place.capacity + place.token) * HEAD_SIZE + d, v);
}

template <Epilogue E>
DEVICE void stream(const TensorMap* wMap, const TensorMap* xMap, const StreamArgs& a) {
  extern __shared__ u8 unaligned[];
  __shared__ u64 full[STAGES], empty[STAGES];
  u32 tiles = (sharedAddress(unaligned) + 1023) & ~1023u;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int tile = blockIdx.x / SPLIT, rank = clusterRank(SPLIT);
  constexpr int STEPS = INPUTS / DEPTH;
  int first = STEPS * rank / SPLIT, steps = STEPS * (rank + 1) / SPLIT - first;
  if (threadIdx.x == 0) {
    #pragma unroll
    for (int i = 0; i < STAGES; i++) {
      barrierInit(&full[i], 1);
      barrierInit(&empty[i], CONSUMERS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
  }
  __syncthreads();

  if (warp == CONSUMERS * 4) {
    if (lane == 0) {
      // Weights are requested before the kernel before has ended, which writes the tokens.
      for (int step = 0; step < min(steps, STAGES); step++) {
        barrierExpect(&full[step], STAGE_BYTES);
        loadTile(tiles + step * STAGE_BYTES, wMap, (first + step) * DEPTH, tile * OUTPUTS, &full[step]);
      }
      waitForPrevious();
      releaseNext();
      for (int step = 0; step < steps; step++) {
        int stage = step % STAGES;
        if (step >= STAGES) {
          barrierWait(&empty[stage], (step / STAGES - 1) & 1);
          barrierExpect(&full[stage], STAGE_BYTES);
          loadTile(tiles + stage * STAGE_BYTES, wMap, (first + step) * DEPTH, tile * OUTPUTS, &full[stage]);
        }
        loadTile(tiles + stage * STAGE_BYTES + W_BYTES, xMap, (first + step) * DEPTH, 0, &full[stage]);
      }
    }
    __syncwarp();
  } else {
    waitForPrevious();
    releaseNext();
    int group = warp / 4;
    float d[TOKENS / 2];
    for (int step = 0; step < steps; step++) {
      int stage = step % STAGES;
      barrierWait(&full[stage], step / STAGES & 1);
      u64 w = descriptor(tiles + stage * STAGE_BYTES + group * 64 * DEPTH * 2);
      u64 x = descriptor(tiles + stage * STAGE_BYTES + W_BYTES);
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
      #pragma unroll
      for (int k = 0; k < DEPTH / 16; k++) multiply(d, w + k * 2, x + k * 2, step > 0 || k > 0);
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
      if (step > 0 && threadIdx.x % 128 == 0) barrierArrive(&empty[(step - 1) % STAGES]);
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    // The tiles have all been read by both groups before sums take their place.
    asm volatile("bar.sync 1, 256;" ::: "memory");
    #pragma unroll
    for (int j = 0; j < TOKENS / 8; j++) {
      #pragma unroll
      for (int i = 0; i < 4; i++) {
        int token = 8 * j + 2 * (lane % 4) + i % 2, output = group * 64 + warp % 4 * 16 + i / 2 * 8 + lane / 4;
        storeShared(tiles + (token * PITCH + output) * 4, d[4 * j + i]);
      }
    }
  }
  if (SPLIT > 1) clusterBarrier(); else __syncthreads();
  if (warp < CONSUMERS * 4) {
    for (int token = rank + warp * SPLIT; token < a.tokens; token += CONSUMERS * 4 * SPLIT)
      finish<E>(a, tile, token, lane, clusterSum(tiles, token, lane));
  }
  // Others may still read this block's sums.
  if (SPLIT > 1) clusterBarrier();
}

extern "C" __global__ __launch_bounds__(THREADS, 2)
#if SPLIT > 1
__cluster_dims__(SPLIT, 1, 1)
#endif
void stream_product(const __grid_constant__ TensorMap w, const __grid_constant__ TensorMap x, StreamArgs a) {
  stream<EPILOGUE>(&w, &x, a);
}
