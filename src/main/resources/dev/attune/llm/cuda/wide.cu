#include "wide.cuh"

// Compiled also for SHARED_ROOM, the shared memory that a block is started with.
static_assert(SHARED_BYTES + 1024 <= SHARED_ROOM, "What lies in shared memory, aligned, finds room");

constexpr int REGISTERS = GROUPS == 2 ? 200 : D == 64 ? 136 : 144, LOADER_REGISTERS = GROUPS == 2 || D == 64 ? 104 : 80;
template <bool Q8> DEVICE void attendItems(const AttentionArgs& a) {
  extern __shared__ u8 unaligned[];
  __shared__ Barriers barriers;
  u8* shared = unaligned + ((1024 - (sharedAddress(unaligned) & 1023)) & 1023);
  if (threadIdx.x == 0) initBarriers<Q8>(barriers);
  __syncthreads();
  int count = *a.itemCount * a.kvHeads;
  if (threadIdx.x >= GROUPS * 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(LOADER_REGISTERS));
    // Instructions that documents of the same batch follow have just been read.
    Loader<Q8, false>(a, shared, &barriers, count).run(a.layer, a.q, true, [](bool) {
      waitForPrevious();
      releaseNext();
    });
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(REGISTERS));
    Turn turn;
    int item = blockIdx.x, uses = 0;
    multiplyItems(a, sharedAddress(shared), &barriers, item, count, turn, uses);
  }
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void attention_wide(AttentionArgs a) { attendItems<false>(a); }
extern "C" __global__ __launch_bounds__(THREADS, 1) void attention_wide_int8(AttentionArgs a) { attendItems<true>(a); }
