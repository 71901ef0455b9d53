// Products of weights with many tokens: out[row][output] = epilogue(sum over inputs of x[row][input] w[output][input]).
// wgmma over tiles that the tensor memory accelerator brings in, ROWS x OUTPUTS x 64 a step: one thread loads, two
// warpgroups multiply 64 rows each. Blocks stay and take tile after tile; what is loaded runs ahead into the next one, so
// that it arrives under the epilogue. RMSNorm is a factor per row: its weights are folded into the matrix, its sums of
// squares come from the epilogue that wrote x. An output is summed over the inputs in one order whatever the batch.
//
// Where all inputs of a tile of rows fit into shared memory, they stay there for all tiles of outputs (KEPT steps): what
// comes through the second-level cache is what takes time then.
//
// With FP8, x and w are E4M3 with a scale a row, so that the sum's factor is the product of two scales. What comes out of SwiGLU
// and the residual is left in E4M3 too, for the next product. Its scales are known before its numbers are, from bounds that they
// cannot exceed (Cauchy and Schwarz): E4M3 has exponents enough for that. See Fp8Weights.
//
// Compiled for FP8 (0 or 1), OUTPUTS (192 or 256), STAGES and KEPT (0: all tiles of x are streamed like those of w).

// A step is 128 bytes of each row.
constexpr int ROWS = 128, DEPTH = FP8 ? 128 : 64, CONSUMERS = 2;
constexpr int THREADS = CONSUMERS * 128 + 128;
constexpr int X_BYTES = ROWS * 128, W_BYTES = OUTPUTS * 128, STAGE_BYTES = W_BYTES + (KEPT ? 0 : X_BYTES);
// The residual of a tile follows its operands through the stages, so many outputs a stage: two bytes of each in panels of 64
// outputs, then one of each.
constexpr int PART = OUTPUTS == 256 && !KEPT ? 128 : 64, PARTS = OUTPUTS / PART;
constexpr int PANEL_BYTES = ROWS * 128, LOW_AT = PART / 64 * PANEL_BYTES, PART_BYTES = LOW_AT + ROWS * PART;
static_assert(PART_BYTES <= STAGE_BYTES, "the residual fits into a stage");
static_assert(!KEPT || STAGES <= KEPT + PARTS, "a tile fills all stages");

#if FP8
#define OPERANDS "k32.f32.e4m3.e4m3"
#define MODIFIERS ", p, 1, 1;"
#else
#define OPERANDS "k16.f32." NUMBERS
#define MODIFIERS ", p, 1, 1, 0, 0;"
#endif

struct GemmArgs {
  int rows;
  int outputs;
  int inputs;
  float epsilon;
  const float* squares;     // [squareParts][rowCapacity]: sums of squares of x, in parts
  int squareParts;
  int rowCapacity;
  num16* q;                  // [row][heads * headSize]
  const Row* places;        // of KV
  const int* positions;
  const float2* rope;       // [position][headSize / 2]: cosine, sine
  int layer;
  int heads;
  int kvHeads;
  int headSize;
  int firstOutput;          // of the matrix of queries, keys and values
  void* out;                // of SwiGLU, [row][outputs / 2], num16 or E4M3
  float* squaresOut;        // [output tiles][rowCapacity]
  // For FP8:
  const float* rowScales;   // of x, or 0 where they are 1
  const float* outputScales;
  u64* norms;               // of x's rows: sums of squares of codes in NORM_UNITs; SwiGLU adds those of its result's
  const float* largestNorm; // of w's rows
  u8* codes;                // of the residual, [row][outputs]
  float* codeScales;
};

enum Epilogue { QKV, RESIDUAL, SWIGLU };

#if OUTPUTS == 192
DEVICE void multiply(float (&d)[96], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %98, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n192" OPERANDS " {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
      "}, %96, %97" MODIFIERS "\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
        "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
        "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
        "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
      : "l"(a), "l"(b), "r"(accumulate));
}
#elif OUTPUTS == 256
DEVICE void multiply(float (&d)[128], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256" OPERANDS " {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, %128, %129" MODIFIERS "\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
        "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
        "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
        "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
        "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
        "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
        "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b), "r"(accumulate));
}
#endif

// Sums of squares of a lane's two rows. The four lanes that have the same rows share the parts; they are requested before the
// products and put together after them.
struct RowSquares {
  static constexpr int HELD = 4;
  float parts[2][HELD], rest[2];

  DEVICE void request(const GemmArgs& a, int row) {
    int q = threadIdx.x % 4;
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      const float* squares = a.squares + min(row + 8 * h, a.rows - 1);
      #pragma unroll
      for (int i = 0; i < HELD; i++)
        parts[h][i] = 4 * i + q < a.squareParts ? squares[(u64)(4 * i + q) * a.rowCapacity] : 0;
      rest[h] = 0;
      for (int i = 4 * HELD + q; i < a.squareParts; i += 4) rest[h] += squares[(u64)i * a.rowCapacity];
    }
  }

  DEVICE float total(int h) {
    float sum = rest[h];
    #pragma unroll
    for (int i = 0; i < HELD; i++) {
      asm volatile("" : "+f"(parts[h][i]));    // not before
      sum += parts[h][i];
    }
    sum += __shfl_xor_sync(~0u, sum, 1);
    return sum + __shfl_xor_sync(~0u, sum, 2);
  }
};

// Scales of FP8, likewise: of a lane's two rows, and of a tile's outputs, of which a lane has those of every eighth j.
struct Scales {
  float rows[2];
  float2 outputs[OUTPUTS / 64];

  DEVICE void request(const GemmArgs& a, int row, int output0) {
    int lane = threadIdx.x % 32;
    #pragma unroll
    for (int h = 0; h < 2; h++) rows[h] = a.rowScales ? a.rowScales[min(row + 8 * h, a.rows - 1)] : 1;
    #pragma unroll
    for (int i = 0; i < OUTPUTS / 64; i++)
      outputs[i] = *(const float2*)(a.outputScales + min(output0 + 64 * i + lane / 4 * 8, a.outputs - 8) + 2 * (lane % 4));
  }

  // Of outputs 8 j + 2 q and the next.
  DEVICE float2 of(int j) const {
    int from = j % 8 * 4 + threadIdx.x % 4;
    return make_float2(__shfl_sync(~0u, outputs[j / 8].x, from), __shfl_sync(~0u, outputs[j / 8].y, from));
  }

  DEVICE void apply(float (&d)[OUTPUTS / 2]) const {
    #pragma unroll
    for (int j = 0; j < OUTPUTS / 8; j++) {
      float2 scale = of(j);
      d[4 * j] *= scale.x;
      d[4 * j + 1] *= scale.y;
      d[4 * j + 2] *= scale.x;
      d[4 * j + 3] *= scale.y;
    }
  }
};

// d[4 j + 2 h + e]: row h * 8 + lane / 4 of the warp, output 8 j + 2 (lane % 4) + e of the tile.
template <int HEAD>
DEVICE void storeQkv(
    const GemmArgs& a, float (&d)[OUTPUTS / 2], const Row& place, const float2* rope, int row, int h, int output0,
    float factor) {
  constexpr int HALF = HEAD / 16;    // groups of eight outputs in half a head
  int lane = threadIdx.x % 32, q = lane % 4;
  bool live = row < a.rows;
  #pragma unroll
  for (int j = 0; j < HALF; j += 4) {
    // The same for all heads.
    float4 turns[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) turns[i] = __ldg((const float4*)(rope + (j + i) * 8 + 2 * q));
    #pragma unroll
    for (int part = 0; part < OUTPUTS / HEAD; part++) {
      int head = (a.firstOutput + output0) / HEAD + part;
      bool turned = head < a.heads + a.kvHeads;
      u32 v[4], w[4];
      #pragma unroll
      for (int i = 0; i < 4; i++) {
        int at = part * HEAD / 8 + j + i;
        float x0 = d[4 * at + 2 * h] * factor, x1 = d[4 * at + 2 * h + 1] * factor;
        float y0 = d[4 * (at + HALF) + 2 * h] * factor, y1 = d[4 * (at + HALF) + 2 * h + 1] * factor;
        if (turned) {
          float4 turn = turns[i];
          float t0 = x0 * turn.x - y0 * turn.y, t1 = x1 * turn.z - y1 * turn.w;
          y0 = y0 * turn.x + x0 * turn.y;
          y1 = y1 * turn.z + x1 * turn.w;
          x0 = t0;
          x1 = t1;
        }
        v[i] = pack16(x0, x1);
        w[i] = pack16(y0, y1);
      }
      transposeQuad(v);
      transposeQuad(w);
      num16* to = 0;
      if (head < a.heads) {
        to = a.q + ((u64)row * a.heads + head) * HEAD;
      } else if (head < a.heads + 2 * a.kvHeads && place.segment) {
        u64 block = 2 * a.layer * a.kvHeads + head - a.heads;
        to = (num16*)place.segment + (block * place.capacity + place.token) * HEAD;
      }
      if (live && to && output0 + part * HEAD < a.outputs) {
        *(uint4*)(to + (j + q) * 8) = make_uint4(v[0], v[1], v[2], v[3]);
        *(uint4*)(to + HEAD / 2 + (j + q) * 8) = make_uint4(w[0], w[1], w[2], w[3]);
      }
    }
  }
}

// Where the accelerator puts a byte of a tile with rows of WIDTH bytes: 16 bytes change places among those of WIDTH.
template <int WIDTH> DEVICE u32 swizzled(u32 offset) { return offset ^ (offset >> 3 & (WIDTH - 16)); }

DEVICE u32 loadShared(u32 address) {
  u32 v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address));
  return v;
}

DEVICE u32 loadShared2(u32 address) {
  unsigned short v;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(address));
  return v;
}

DEVICE void storeShared(u32 address, u32 v) { asm volatile("st.shared.u32 [%0], %1;" :: "r"(address), "r"(v) : "memory"); }

DEVICE void storeShared2(u32 address, u32 v) {
  asm volatile("st.shared.u16 [%0], %1;" :: "r"(address), "h"((unsigned short)v) : "memory");
}

// The residual is kept in 24 bits, since errors of rounding add up over layers: a number of 16 bits, rounded to nearest, which
// products take, and a signed byte: how far from it, as fp32, the next eight bits of the sum are.
#if defined(NUMBERS_FP16)
constexpr int REST = 5;    // bits of fp32 that are left out
#else
constexpr int REST = 8;
#endif

// Byte I of a word, times 256, with its sign.
template <int I> DEVICE u32 signedHigher(u32 word) {
  u32 v;
  asm("prmt.b32 %0, %1, 0, %2;" : "=r"(v) : "r"(word), "n"(I ? 0x9914 : 0x8804));
  return v;
}

template <int I> DEVICE float residual(float high, u32 lows) {
  return __uint_as_float(__float_as_uint(high) + ((int)signedHigher<I>(lows) >> (8 - REST)));
}

// The signed byte, times 256.
DEVICE u32 leftOf(float x, float high) {
  int away = (int)(__float_as_uint(x) - __float_as_uint(high)) + (1 << (REST - 1));
  // Only what fp16 rounds more coarsely, near 0 and beyond its range, is farther below.
  if (REST < 8) away = max(away, -(128 << REST));
  return min(away, (128 << REST) - 1) << (8 - REST);
}

// Adds part of the products to the residual of its outputs, which lies in a stage, and leaves their codes; part is known when this
// is compiled.
DEVICE void addResidual(const GemmArgs& a, const float (&d)[OUTPUTS / 2], int part, u32 stage, int row, int output0,
    const Scales& scales, const float (&codeFactors)[2], float (&squares)[2]) {
  int lane = threadIdx.x % 32, q = lane % 4, inTile = threadIdx.x / 32 * 16 + lane / 4;
  u32 highs = stage + swizzled<128>(inTile * 128) + 4 * q, lows[2];
  #pragma unroll
  for (int h = 0; h < 2; h++) lows[h] = stage + LOW_AT + swizzled<PART>((inTile + 8 * h) * PART) + 2 * q;
  #pragma unroll
  for (int panel = 0; panel < PART / 64; panel++) {
    float2 factors[8];
    #pragma unroll
    for (int j = 0; FP8 && j < 8; j++) factors[j] = scales.of((part * PART + panel * 64) / 8 + j);
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 high[8], low[8];
      #pragma unroll
      for (int j = 0; j < 8; j++) {
        high[j] = loadShared((highs ^ j * 16) + panel * PANEL_BYTES + h * 1024);
        low[j] = loadShared2((lows[h] ^ (panel * 4 + j / 2) * 16) + j % 2 * 8);
      }
      float x[8], y[8];
      #pragma unroll
      for (int j = 0; j < 8; j++) {
        const float* sum = d + 4 * ((part * PART + panel * 64) / 8 + j) + 2 * h;
        x[j] = residual<0>(low16(high[j]), low[j]);
        y[j] = residual<1>(high16(high[j]), low[j]);
        x[j] += FP8 ? sum[0] * (factors[j].x * scales.rows[h]) : sum[0];
        y[j] += FP8 ? sum[1] * (factors[j].y * scales.rows[h]) : sum[1];
        squares[h] += x[j] * x[j] + y[j] * y[j];
        u32 pair = pack16(x[j], y[j]);
        storeShared((highs ^ j * 16) + panel * PANEL_BYTES + h * 1024, pair);
        storeShared2((lows[h] ^ (panel * 4 + j / 2) * 16) + j % 2 * 8,
            __byte_perm(leftOf(x[j], low16(pair)), leftOf(y[j], high16(pair)), 0x51));
      }
      if (FP8) {
        u32 codes[4];
        #pragma unroll
        for (int i = 0; i < 4; i++)
          codes[i] = packE4m3(x[2 * i] * codeFactors[h], x[2 * i + 1] * codeFactors[h], y[2 * i] * codeFactors[h],
              y[2 * i + 1] * codeFactors[h]);
        int output = output0 + panel * 64;
        if (row + 8 * h < a.rows && output < a.outputs)
          *(uint4*)(a.codes + (u64)(row + 8 * h) * a.outputs + output + 16 * q) =
              make_uint4(codes[0], codes[1], codes[2], codes[3]);
      }
    }
  }
}

DEVICE float2 swiglu(const float (&d)[OUTPUTS / 2], int j, int h, float factor) {
  int gate = 4 * j + 2 * h, up = gate + 4;
  return make_float2(silu(d[gate] * factor) * (d[up] * factor), silu(d[gate + 1] * factor) * (d[up + 1] * factor));
}

DEVICE void storeSwiglu(const GemmArgs& a, const float (&d)[OUTPUTS / 2], int row, int h, int output0, float factor) {
  int q = threadIdx.x % 4;
  #pragma unroll
  for (int j = 0; j < OUTPUTS / 8; j += 8) {
    u32 v[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) {
      float2 x = swiglu(d, j + 2 * i, h, factor);
      v[i] = pack16(x.x, x.y);
    }
    transposeQuad(v);
    int output = output0 / 2 + (j / 2 + q) * 8;
    if (row < a.rows && 2 * output < a.outputs)
      *(uint4*)((num16*)a.out + (u64)row * (a.outputs / 2) + output) = make_uint4(v[0], v[1], v[2], v[3]);
  }
}

// As E4M3. A lane has 16 bytes of 64 inputs of the next product, or 8 of half of them.
DEVICE void storeSwigluCodes(const GemmArgs& a, const float (&d)[OUTPUTS / 2], int row, int h, int output0, float factor) {
  constexpr int WORDS = OUTPUTS % 128 == 0 ? 4 : 2;
  int q = threadIdx.x % 4;
  bool live = row < a.rows;
  float square = 0;
  #pragma unroll
  for (int j = 0; j < OUTPUTS / 8; j += 4 * WORDS) {
    u32 codes[WORDS];
    #pragma unroll
    for (int i = 0; i < WORDS; i++) {
      float2 x = swiglu(d, j + 4 * i, h, factor), y = swiglu(d, j + 4 * i + 2, h, factor);
      codes[i] = packE4m3(x.x, y.x, x.y, y.y);
      square += x.x * x.x + x.y * x.y + (y.x * y.x + y.y * y.y);
    }
    int output = output0 / 2 + 4 * j;
    u8* to = (u8*)a.out + (u64)row * (a.outputs / 2) + output / 64 * 64 + 16 * q + output % 64 / 4;
    if (live && 2 * output < a.outputs) {
      if (WORDS == 4) *(uint4*)to = make_uint4(codes[0], codes[1], codes[WORDS - 2], codes[WORDS - 1]);
      else *(uint2*)to = make_uint2(codes[0], codes[1]);
    }
  }
  square += __shfl_xor_sync(~0u, square, 1);
  square += __shfl_xor_sync(~0u, square, 2);
  // Rounding to a code adds at most a 16th, or 2^-10. Whole numbers have the same sum in any order.
  if (live && q == 0) atomicAdd(a.norms + row, __float2ull_ru((square * 1.14f + 0.01f) * NORM_UNITS));
}

// Where a block is in its ring of stages.
struct Ring {
  int stage = 0, phase = 0;

  DEVICE void next() {
    if (++stage < STAGES) return;
    stage = 0;
    phase ^= 1;
  }
};

// The tiles of a block, one after the other.
struct Tiles {
  int at, end, step, rowTiles, outputTiles;

  DEVICE Tiles(const GemmArgs& a) {
    rowTiles = (a.rows + ROWS - 1) / ROWS;
    outputTiles = (a.outputs + OUTPUTS - 1) / OUTPUTS;
    int count = rowTiles * outputTiles;
    // Neighbours share their rows, which are kept, or else run at once.
    at = KEPT ? (int)((u64)count * blockIdx.x / gridDim.x) : blockIdx.x;
    end = KEPT ? (int)((u64)count * (blockIdx.x + 1) / gridDim.x) : count;
    step = KEPT ? 1 : gridDim.x;
  }

  DEVICE void place(int tile, int& row0, int& output0) const {
    if (KEPT) {
      row0 = tile / outputTiles * ROWS;
      output0 = tile % outputTiles * OUTPUTS;
      return;
    }
    // Blocks that run at once cover a block of the result, so that both operands are read from the cache.
    constexpr int BAND = 16;
    int band = tile / (BAND * outputTiles), inBand = tile % (BAND * outputTiles);
    int height = min(BAND, rowTiles - band * BAND);
    row0 = (band * BAND + inBand % height) * ROWS;
    output0 = inBand / height * OUTPUTS;
  }

  // Whether a tile is the block's first, or last, of its rows.
  DEVICE bool opens(int tile, int first) const { return tile == first || tile % outputTiles == 0; }
  DEVICE bool closes(int tile) const { return tile + 1 == end || (tile + 1) % outputTiles == 0; }
};

struct GemmBarriers {
  u64 full[STAGES], empty[STAGES];
  u64 added[PARTS];
  u64 rowsFull[KEPT ? KEPT : 1], rowsEmpty[KEPT ? KEPT : 1];
};

// What the tensor memory accelerator brings and, of the residual, takes away.
struct Maps {
  const TensorMap *x, *w, *high, *low;
};

DEVICE void storeTile(const TensorMap* map, int column, int row, u32 from) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];"
               :: "l"(map), "r"(from), "r"(column), "r"(row) : "memory");
}

template <Epilogue E> DEVICE void loadTiles(const Maps& maps, const GemmArgs& a, u32 memory, GemmBarriers& b) {
  Tiles tiles(a);
  Ring ring;
  int steps = (a.inputs + DEPTH - 1) / DEPTH, filled = 0, opened = 0;
  // The next stage, which its readers have left, and the bytes that will fill it.
  auto next = [&](int bytes) {
    if (filled >= STAGES) barrierWait(&b.empty[ring.stage], ring.phase ^ 1);
    filled++;
    barrierExpect(&b.full[ring.stage], bytes);
    return memory + KEPT * X_BYTES + ring.stage * STAGE_BYTES;
  };
  waitForPrevious();
  #pragma unroll 1
  for (int tile = tiles.at; tile < tiles.end; tile += tiles.step) {
    int row0, output0;
    tiles.place(tile, row0, output0);
    bool opens = KEPT && tiles.opens(tile, tiles.at);
    #pragma unroll 1
    for (int step = 0; step < steps; step++, ring.next()) {
      if (opens) {
        if (opened) barrierWait(&b.rowsEmpty[step], (opened - 1) & 1);
        barrierExpect(&b.rowsFull[step], X_BYTES);
        loadTile(memory + step * X_BYTES, maps.x, step * DEPTH, row0, &b.rowsFull[step]);
      }
      u32 to = next(STAGE_BYTES);
      if (!KEPT) loadTile(to + W_BYTES, maps.x, step * DEPTH, row0, &b.full[ring.stage]);
      loadTile(to, maps.w, step * DEPTH, output0, &b.full[ring.stage]);
    }
    if (opens) opened++;
    #pragma unroll 1
    for (int part = 0; E == RESIDUAL && part < PARTS; part++, ring.next()) {
      u32 to = next(PART_BYTES);
      #pragma unroll
      for (int i = 0; i < PART; i += 64)
        loadTile(to + i / 64 * PANEL_BYTES, maps.high, output0 + part * PART + i, row0, &b.full[ring.stage]);
      loadTile(to + LOW_AT, maps.low, output0 + part * PART, row0, &b.full[ring.stage]);
    }
  }
}

// Takes the residual away when it has been added to, and gives its stages back.
DEVICE void storeTiles(const Maps& maps, const GemmArgs& a, u32 memory, GemmBarriers& b) {
  Tiles tiles(a);
  int steps = (a.inputs + DEPTH - 1) / DEPTH, stage = 0, phase = 0;
  #pragma unroll 1
  for (int tile = tiles.at; tile < tiles.end; tile += tiles.step, phase ^= 1) {
    int row0, output0;
    tiles.place(tile, row0, output0);
    stage = (stage + steps) % STAGES;
    #pragma unroll 1
    for (int part = 0; part < PARTS; part++) {
      u32 from = memory + KEPT * X_BYTES + stage * STAGE_BYTES;
      barrierWait(&b.added[part], phase);
      #pragma unroll
      for (int i = 0; i < PART; i += 64)
        storeTile(maps.high, output0 + part * PART + i, row0, from + i / 64 * PANEL_BYTES);
      storeTile(maps.low, output0 + part * PART, row0, from + LOW_AT);
      asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;" ::: "memory");
      for (int i = 0; i < CONSUMERS; i++) barrierArrive(&b.empty[stage]);
      stage = (stage + 1) % STAGES;
    }
  }
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

template <Epilogue E> DEVICE void multiplyTiles(const GemmArgs& a, u32 memory, GemmBarriers& b) {
  Tiles tiles(a);
  Ring ring;
  int steps = (a.inputs + DEPTH - 1) / DEPTH, opened = 0;
  int warp = threadIdx.x / 32, group = warp / 4, lane = threadIdx.x % 32;
  bool signals = threadIdx.x % 128 == 0;
  waitForPrevious();
  #pragma unroll 1
  for (int tile = tiles.at; tile < tiles.end; tile += tiles.step) {
    int row0, output0;
    tiles.place(tile, row0, output0);
    bool opens = KEPT && tiles.opens(tile, tiles.at), closes = KEPT && tiles.closes(tile);
    int row = row0 + group * 64 + warp % 4 * 16 + lane / 4;
    // Requested before they are needed.
    RowSquares rowSquares;
    if (E != RESIDUAL || FP8) rowSquares.request(a, row);
    Scales scales;
    if (FP8) scales.request(a, row, output0);
    u64 norms[2];
    float largestNorm;
    if (E == RESIDUAL && FP8) {
      largestNorm = *a.largestNorm;
      #pragma unroll
      for (int h = 0; h < 2; h++) norms[h] = a.norms[min(row + 8 * h, a.rows - 1)];
    }
    Row place[2];
    int position[2];
    if (E == QKV) {
      #pragma unroll
      for (int h = 0; h < 2; h++) {
        int safe = min(row + 8 * h, a.rows - 1);
        place[h] = a.places[safe];
        position[h] = a.positions[safe];
      }
    }
    float d[OUTPUTS / 2];
    int before = 0;
    #pragma unroll 1
    for (int step = 0; step < steps; step++, ring.next()) {
      u32 stage = memory + KEPT * X_BYTES + ring.stage * STAGE_BYTES;
      if (opens) barrierWait(&b.rowsFull[step], opened & 1);
      barrierWait(&b.full[ring.stage], ring.phase);
      u64 x = descriptor((KEPT ? memory + step * X_BYTES : stage + W_BYTES) + group * 64 * 128);
      u64 w = descriptor(stage);
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
      #pragma unroll
      for (int k = 0; k < 4; k++) multiply(d, x + k * 2, w + k * 2, step > 0 || k > 0);
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      // The step before has been read; its stage may be filled again.
      asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
      if (step > 0 && signals) {
        barrierArrive(&b.empty[before]);
        if (closes) barrierArrive(&b.rowsEmpty[step - 1]);
      }
      before = ring.stage;
    }
    if (opens) opened++;
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (signals) {
      barrierArrive(&b.empty[before]);
      if (closes) barrierArrive(&b.rowsEmpty[steps - 1]);
    }
    if (tile + tiles.step >= tiles.end) releaseNext();
    if (E == RESIDUAL) {
      float codeFactors[2], squares[2] = {0, 0};
      if (FP8) {
        #pragma unroll
        for (int h = 0; h < 2; h++) {
          asm volatile("" : "+l"(norms[h]));    // not before
          // No number of the row exceeds its norm before and what may be added, with a little for rounding.
          float most = 1.06f * (sqrtf(rowSquares.total(h))
              + largestNorm * scales.rows[h] * sqrtf(norms[h] * (1.0f / NORM_UNITS)));
          codeFactors[h] = most > 0 ? LARGEST_E4M3 / most : 0;
          if (output0 == 0 && lane % 4 == 0 && row + 8 * h < a.rows) a.codeScales[row + 8 * h] = most / LARGEST_E4M3;
        }
      }
      #pragma unroll
      for (int part = 0; part < PARTS; part++, ring.next()) {
        barrierWait(&b.full[ring.stage], ring.phase);
        u32 stage = memory + KEPT * X_BYTES + ring.stage * STAGE_BYTES;
        addResidual(a, d, part, stage, row, output0 + part * PART, scales, codeFactors, squares);
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
        if (lane == 0) barrierArrive(&b.added[part]);
      }
      #pragma unroll
      for (int h = 0; h < 2; h++) {
        squares[h] += __shfl_xor_sync(~0u, squares[h], 1);
        squares[h] += __shfl_xor_sync(~0u, squares[h], 2);
        if (row + 8 * h < a.rows && lane % 4 == 0)
          a.squaresOut[(u64)(output0 / OUTPUTS) * a.rowCapacity + row + 8 * h] = squares[h];
      }
    } else {
      if (FP8) scales.apply(d);
      #pragma unroll
      for (int h = 0; h < 2; h++) {
        float factor = rsqrtf(rowSquares.total(h) / a.inputs + a.epsilon) * (FP8 ? scales.rows[h] : 1);
        if (E == SWIGLU) {
          if (FP8) storeSwigluCodes(a, d, row + 8 * h, h, output0, factor);
          else storeSwiglu(a, d, row + 8 * h, h, output0, factor);
          continue;
        }
        asm volatile("" : "+r"(position[h]));    // not before
        const float2* rope = a.rope + (u64)position[h] * (a.headSize / 2);
        if (a.headSize == 64) storeQkv<64>(a, d, place[h], rope, row + 8 * h, h, output0, factor);
        else if (OUTPUTS % 128 == 0)
          storeQkv<OUTPUTS % 128 == 0 ? 128 : 64>(a, d, place[h], rope, row + 8 * h, h, output0, factor);
      }
    }
  }
}

template <Epilogue E>
DEVICE void gemm(const Maps& maps, const GemmArgs& a) {
  extern __shared__ u8 unaligned[];
  __shared__ GemmBarriers barriers;
  u32 memory = (sharedAddress(unaligned) + 1023) & ~1023u;
  if (threadIdx.x == 0) {
    #pragma unroll
    for (int i = 0; i < STAGES; i++) {
      barrierInit(&barriers.full[i], 1);
      barrierInit(&barriers.empty[i], CONSUMERS);
    }
    #pragma unroll
    for (int i = 0; i < PARTS; i++) barrierInit(&barriers.added[i], CONSUMERS * 4);
    #pragma unroll
    for (int i = 0; i < KEPT; i++) {
      barrierInit(&barriers.rowsFull[i], 1);
      barrierInit(&barriers.rowsEmpty[i], CONSUMERS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x >= CONSUMERS * 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == CONSUMERS * 128) loadTiles<E>(maps, a, memory, barriers);
    if (E == RESIDUAL && threadIdx.x == CONSUMERS * 128 + 32) storeTiles(maps, a, memory, barriers);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    multiplyTiles<E>(a, memory, barriers);
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void gemm_qkv(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, GemmArgs a) {
  gemm<QKV>({&x, &w, 0, 0}, a);
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void gemm_swiglu(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, GemmArgs a) {
  gemm<SWIGLU>({&x, &w, 0, 0}, a);
}

// high and low: tiles of the residual.
extern "C" __global__ __launch_bounds__(THREADS, 1) void gemm_residual(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, const __grid_constant__ TensorMap high,
    const __grid_constant__ TensorMap low, GemmArgs a) {
  gemm<RESIDUAL>({&x, &w, &high, &low}, a);
}
