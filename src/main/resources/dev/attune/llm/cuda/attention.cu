#include "attention.cuh"

// A fixed number of blocks walks over the items, so that a captured graph serves contexts of any length.
#define ATTENTION(NAME, D, BLOCKS)                                                                           \
  extern "C" __global__ __launch_bounds__(32, BLOCKS) void NAME(AttentionArgs a) {                           \
    extern __shared__ __align__(128) u8 shared[];                                                            \
    int count = *a.itemCount * a.kvHeads;                                                                    \
    for (int i = blockIdx.x; i < count; i += gridDim.x) {                                                    \
      attend<D>(a, a.layer, a.items[i / a.kvHeads], i % a.kvHeads, shared, [=] {                             \
        if (i != blockIdx.x) return;                                                                         \
        waitForPrevious();                                                                                   \
        releaseNext();                                                                                       \
      });                                                                                                    \
    }                                                                                                        \
    if (blockIdx.x >= count) waitForPrevious();                                                              \
  }

ATTENTION(attention_64_decode, 64, 8)
ATTENTION(attention_128_decode, 128, 4)

// The tiles' rows, one after the other, by blocks of four warps a row.
template <int D> DEVICE void mergeParts(const MergeArgs& a) {
  constexpr int SHARES = 4, PER = D / 32;
  __shared__ float shares[SHARES][D];
  int share = threadIdx.x / 32, lane = threadIdx.x % 32;
  int group = a.heads / a.kvHeads;
  int total = *a.itemCount * a.kvHeads * a.tileRows;
  for (int w = blockIdx.x; w < total; w += gridDim.x) {
    int inTile = w % a.tileRows, head = w / a.tileRows % a.kvHeads;
    MergeItem item = a.items[w / a.tileRows / a.kvHeads];
    Sequence s = a.sequences[item.sequence];
    int row = item.rowTile * a.tileRows + inTile;
    if (w == blockIdx.x) {
      waitForPrevious();
      releaseNext();
    }
    if (row >= s.tokens * group || item.count <= a.few) continue;
    u64 stride = (u64)a.kvHeads * a.tileRows;
    u64 from = ((u64)item.firstPartial * a.kvHeads + head) * a.tileRows + inTile;
    float out[PER] = {}, sum;
    mergeRow<D, SHARES>(a.partialOut, a.partialSums, from, stride, item.count, share, out, sum);
    #pragma unroll
    for (int i = 0; i < PER; i++) shares[share][lane * PER + i] = out[i];
    __syncthreads();
    if (share == 0) {
      #pragma unroll
      for (int i = 0; i < PER; i++) {
        out[i] = shares[0][lane * PER + i];
        #pragma unroll
        for (int k = 1; k < SHARES; k++) out[i] += shares[k][lane * PER + i];
      }
      storeMerged<D>(a.out, a.heads, a.kvHeads, s, row, head, out, sum);
    }
    __syncthreads();
  }
  if (blockIdx.x >= total) {
    waitForPrevious();
    releaseNext();
  }
}

extern "C" __global__ __launch_bounds__(128) void merge_64(MergeArgs a) { mergeParts<64>(a); }
extern "C" __global__ __launch_bounds__(128) void merge_128(MergeArgs a) { mergeParts<128>(a); }
