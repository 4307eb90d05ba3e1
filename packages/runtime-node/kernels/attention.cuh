// What kernels of attention share: how the cache holds numbers, turning, and putting the parts of the positions together.
#pragma once
#include "common.cuh"

enum CacheKind { CACHE_F32, CACHE_F16, CACHE_INT8, CACHE_INT4 };

#define CACHE_GROUP 32

/** Two values of a head, half of it apart, by the angle whose cos and sin are given; rounded alike in every kernel. */
DEVICE void turnPair(float& low, float& high, float2 turn) {
  const float a = low, b = high;
  low = __fsub_rn(__fmul_rn(a, turn.x), __fmul_rn(b, turn.y));
  high = __fadd_rn(__fmul_rn(b, turn.x), __fmul_rn(a, turn.y));
}

/** Within the range of f16; infinite values become NaN and so stay visible. */
DEVICE float limitToHalf(float x) { return fminf(fmaxf(x, -65504.0f), 65504.0f) + (x - x); }

template <CacheKind KIND>
struct Cached {
  /** Values in 16 bytes. */
  static constexpr int VALUES = KIND == CACHE_F32 ? 4 : KIND == CACHE_F16 ? 8 : KIND == CACHE_INT8 ? 16 : 32;
  static constexpr bool CODED = KIND == CACHE_INT8 || KIND == CACHE_INT4;
};

/** Values or codes of 16 bytes, as f32. */
template <CacheKind KIND>
DEVICE void decodeCached(const uint4& v, float (&out)[Cached<KIND>::VALUES]) {
  const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < Cached<KIND>::VALUES; ++i) {
    if (KIND == CACHE_F32) out[i] = __int_as_float(words[i & 3]);
    else if (KIND == CACHE_F16) out[i] = halfToFloat(static_cast<u16>(words[i / 2 & 3] >> 16 * (i & 1)));
    else if (KIND == CACHE_INT8) out[i] = static_cast<float>(words[i / 4 & 3] >> 8 * (i & 3) & 255u);
    else out[i] = static_cast<float>(words[i / 8 & 3] >> 4 * (i & 7) & 15u);
  }
}

struct AttentionArgs {
  const float* query;
  float* out;
  u8* keys;
  u8* values;
  u32* keyParams;
  u32* valueParams;
  /** [row][head][part] of sums not yet divided, their maxima and weights; null with one part. */
  float* partMix;
  float2* partStats;
  /** [row][head] parts that are done; all 0 between launches. */
  u32* done;
  const RunState* state;
  int headSize;
  int sharing;
  int capacity;
  int rowBytes;
  int groups;
  int strideQuery;
  int strideOut;
  /** 0: none. */
  int window;
  float scale;
};

#define ATTENTION_THREADS 256
/** Dimensions of a head. */
#define MOST_HEAD 512

/** What sums of weights relative to one maximum are multiplied by to be relative to a higher one; equal ones may be infinite. */
DEVICE float shrinking(float highest, float next) {
  // Before it is chosen: a branch would keep what is independent from going on.
  const float factor = expf(highest - next);
  return highest == next ? 1.0f : factor;
}

/**
 * The block of a row and head (`pair`) that is done last puts their parts together, in their order. Each has written its sums to
 * partMix; `before` is a word of shared memory.
 */
DEVICE void joinParts(const AttentionArgs& a, u64 pair, int part, int parts, float highest, float weight, u32* before, float* out) {
  const float2* const stats = a.partStats + pair * parts;
  if (threadIdx.x == 0) a.partStats[pair * parts + part] = make_float2(highest, weight);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) before[0] = atomicAdd(a.done + pair, 1u);
  __syncthreads();
  if (before[0] != static_cast<u32>(parts - 1)) return;
  __threadfence();
  if (threadIdx.x == 0) a.done[pair] = 0;
  float most = -INFINITE;
  for (int s = 0; s < parts; ++s) most = fmaxf(most, __ldcg(stats + s).x);
  for (int d = threadIdx.x; d < a.headSize; d += blockDim.x) {
    float sum = 0, all = 0;
    for (int s = 0; s < parts; ++s) {
      const float2 one = __ldcg(stats + s);
      // Parts that have no positions.
      if (one.y == 0) continue;
      const float factor = shrinking(one.x, most);
      sum = fmaf(__ldcg(a.partMix + (pair * parts + s) * a.headSize + d), factor, sum);
      all = fmaf(one.y, factor, all);
    }
    out[d] = __fdiv_rn(sum, all);
  }
}
