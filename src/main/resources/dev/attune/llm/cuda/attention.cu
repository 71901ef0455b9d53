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

// A block of four warps per row.
template <int D> DEVICE void mergeParts(const MergeArgs& a) {
  __shared__ float shares[4][D];
  mergeTiles<D, 4>(a, blockIdx.x, gridDim.x, threadIdx.x / 32, 1, shares, [] {
    waitForPrevious();
    releaseNext();
  });
}

extern "C" __global__ __launch_bounds__(128) void merge_64(MergeArgs a) { mergeParts<64>(a); }
extern "C" __global__ __launch_bounds__(128) void merge_128(MergeArgs a) { mergeParts<128>(a); }
