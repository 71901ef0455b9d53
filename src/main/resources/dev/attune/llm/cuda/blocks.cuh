// Blocks that all run at once and wait for each other; in each the first WORKERS threads, which come before this.

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
