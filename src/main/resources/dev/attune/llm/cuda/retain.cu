#include "ragged.cuh"

// Makes one segment of chosen slots of several, head by head (compiled for HEAD_SIZE).

// What becomes of one KV head of a layer: slots, counted through the parts, are lists[kept ...], the first `biased` of which
// have a bias; one more slot, before them, stands for lists[dropped ...] where there are any.
struct HeadPlan {
  int kept;
  int keptCount;
  int biased;
  int dropped;
  int droppedCount;
};

constexpr int D = HEAD_SIZE, EACH = D / 32, GROUPS = 256 / D;

// One slot of a part.
struct Place {
  Block block;
  int slot;
  bool int8;
};

DEVICE Place place(const Span* parts, int layer, int head, int kvHeads, int slot) {
  for (int i = 0;; i++) {
    Place p;
    p.block = blockOf(parts[i].segment, parts[i].capacity, layer, head, kvHeads);
    p.int8 = isInt8(parts[i].segment);
    p.slot = slot;
    if (slot < p.block.slots) return p;
    slot -= p.block.slots;
  }
}

DEVICE float number(const Place& p, bool value, int d) {
  u64 numbers = value ? valueNumbers(p.block, p.int8) : keyNumbers(p.block, p.int8);
  u64 at = (u64)p.slot * D + d;
  if (!p.int8) return from16(((const num16*)numbers)[at]);
  float scale = value ? ((const float*)p.block.values)[p.slot] : keyScales(p.block)[d];
  return ((const signed char*)numbers)[at] * scale;
}

DEVICE float biasOf(const Place& p) { return p.slot < p.block.biased ? ((const float*)p.block.keys)[p.slot] : 0.0f; }

DEVICE u8 quantised(float x) { return (u8)max(-127, min(127, __float2int_rn(x))); }

// Block x is a layer and KV head, y says whether it makes keys or values. With keepScales, for one part in int8, int8 keys
// keep their scales.
extern "C" __global__ __launch_bounds__(256) void retain_heads(
    const Span* parts, const HeadPlan* plans, const int* lists, u64 whole, int capacity, int kvHeads, int valueLayers,
    int keepScales) {
  __shared__ double sums[256], weights[256];
  __shared__ float mean[D], scales[D];
  __shared__ float largest[256];
  int layer = blockIdx.x / kvHeads, head = blockIdx.x % kvHeads;
  bool value = blockIdx.y, int8 = isInt8(whole);
  if (value && layer >= valueLayers) return;
  HeadPlan plan = plans[blockIdx.x];
  Block to = blockOf(whole, capacity, layer, head, kvHeads);
  int offset = plan.droppedCount > 0;
  int channel = threadIdx.x % D, group = threadIdx.x / D;
  if (offset) {
    double sum = 0, weight = 0;
    for (int i = group; i < plan.droppedCount; i += GROUPS) {
      Place p = place(parts, layer, head, kvHeads, lists[plan.dropped + i]);
      double w = exp((double)biasOf(p));
      weight += w;
      sum += w * number(p, value, channel);
    }
    sums[threadIdx.x] = sum;
    weights[threadIdx.x] = weight;
    __syncthreads();
    for (int g = 1; g < GROUPS && group == 0; g++) {
      sum += sums[g * D + channel];
      weight += weights[g * D + channel];
    }
    if (group == 0) mean[channel] = (float)(sum / weight);
    if (threadIdx.x == 0 && !value) ((float*)to.keys)[0] = (float)log(weight);
    __syncthreads();
  }
  if (!value) {
    for (int i = threadIdx.x; i < plan.biased; i += 256)
      ((float*)to.keys)[offset + i] = biasOf(place(parts, layer, head, kvHeads, lists[plan.kept + i]));
  }
  if (int8 && !value) {
    float top = offset ? fabsf(mean[channel]) : 0.0f;
    if (!keepScales)
      for (int i = group; i < plan.keptCount; i += GROUPS)
        top = fmaxf(top, fabsf(number(place(parts, layer, head, kvHeads, lists[plan.kept + i]), false, channel)));
    largest[threadIdx.x] = top;
    __syncthreads();
    if (group == 0) {
      for (int g = 1; g < GROUPS; g++) top = fmaxf(top, largest[g * D + channel]);
      float scale = keepScales
          ? keyScales(blockOf(parts[0].segment, parts[0].capacity, layer, head, kvHeads))[channel] : top / 127.0f;
      scales[channel] = scale;
      ((float*)keyScales(to))[channel] = scale;
    }
    __syncthreads();
  }
  u64 numbers = value ? valueNumbers(to, int8) : keyNumbers(to, int8);
  int lane = threadIdx.x % 32;
  for (int i = threadIdx.x / 32; i < offset + plan.keptCount; i += 8) {
    float x[EACH];
    float scale = 0;
    bool kept = false;
    if (i < offset) {
      #pragma unroll
      for (int j = 0; j < EACH; j++) x[j] = mean[lane * EACH + j];
    } else {
      Place p = place(parts, layer, head, kvHeads, lists[plan.kept + i - offset]);
      #pragma unroll
      for (int j = 0; j < EACH; j++) x[j] = number(p, value, lane * EACH + j);
      kept = value && p.int8;
      if (kept) scale = ((const float*)p.block.values)[p.slot];
    }
    u64 at = (u64)i * D + lane * EACH;
    if (!int8) {
      #pragma unroll
      for (int j = 0; j < EACH; j += 2) *(u32*)((num16*)numbers + at + j) = pack16(x[j], x[j + 1]);
      continue;
    }
    if (value) {
      float top = 0;
      #pragma unroll
      for (int j = 0; j < EACH; j++) top = fmaxf(top, fabsf(x[j]));
      top = warpMax(top);
      if (!kept) scale = top / 127.0f;
      if (lane == 0) ((float*)to.values)[i] = scale;
    }
    #pragma unroll
    for (int j = 0; j < EACH; j++) {
      float by = value ? scale : scales[lane * EACH + j];
      ((u8*)numbers)[at + j] = quantised(by > 0 ? x[j] * (1.0f / by) : 0.0f);
    }
  }
}
