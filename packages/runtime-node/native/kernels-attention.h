// Attention over the KV cache; included by the file of each instruction set.
//
// Keys lie with positions in the lanes, so that a score needs no sum across lanes; values lie with dimensions in the lanes.
#pragma once
#include "kernels-float.h"

namespace duobit::KERNEL_ISA {

template <bool HALF>
static inline V loadCached(const void* base, size_t index) {
  if constexpr (HALF) return loadHalf(static_cast<const uint16_t*>(base) + index);
  else return load(static_cast<const float*>(base) + index);
}

static void cacheRow(const CacheLayer& cache, const float* key, const float* value, int kvHeads, int position) {
  const int size = cache.headSize;
  for (int head = 0; head < kvHeads; ++head, key += size, value += size) {
    const size_t keyAt = head * cache.keyPlane + static_cast<size_t>(position / VW) * size * VW + position % VW;
    const size_t valueAt = head * cache.valuePlane + position * cache.valueStride;
    if (cache.half) {
      uint16_t *keys = static_cast<uint16_t*>(cache.keys) + keyAt, *values = static_cast<uint16_t*>(cache.values) + valueAt;
      for (int d = 0; d < size; ++d) keys[d * VW] = toHalf(key[d]);
      for (int d = 0; d < size; ++d) values[d] = toHalf(value[d]);
    } else {
      float *keys = static_cast<float*>(cache.keys) + keyAt, *values = static_cast<float*>(cache.values) + valueAt;
      for (int d = 0; d < size; ++d) keys[d * VW] = key[d];
      for (int d = 0; d < size; ++d) values[d] = value[d];
    }
  }
}

/** Scores of Q queries at P blocks of VW positions. */
template <int Q, int P, bool HALF>
static inline void scoreBlocks(const void* keys, size_t at, const AttentionTask& task, int size, float* scores) {
  const size_t stride = static_cast<size_t>(size) * VW;
  V a[Q][P];
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) a[q][p] = zero();
  for (int d = 0; d < size; ++d) {
    V k[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) k[p] = loadCached<HALF>(keys, at + p * stride + d * VW);
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
      const V x = splat(task.queries[q * size + d]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) a[q][p] = fma(x, k[p], a[q][p]);
    }
  }
  const V scale = splat(task.scale);
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) store(scores + q * task.scoreStride + p * VW, mul(a[q][p], scale));
}

/** Turns scores of the positions [begin, end) into e^(score - max), in place; returns 1 / sum. */
static inline float weigh(float* scores, int begin, int end) {
  const int first = begin / VW * VW, stop = (end + VW - 1) / VW * VW;
  const float lowestScore = -__builtin_inff();
  for (int p = first; p < begin; ++p) scores[p - first] = lowestScore;
  for (int p = end; p < stop; ++p) scores[p - first] = lowestScore;
  V top = splat(lowestScore);
  for (int p = 0; p < stop - first; p += VW) top = max(top, load(scores + p));
  const V most = splat(highest(top));
  V total = zero();
  for (int p = 0; p < stop - first; p += VW) {
    const V e = exponential(sub(load(scores + p), most));
    store(scores + p, e);
    total = add(total, e);
  }
  return 1.0f / sum(total);
}

/** outs[q][d …] = inverse[q] * sum over positions of weight[q][p] * value[p][d …], for C vectors of dimensions. */
template <int Q, int C, bool HALF>
static inline void mixValues(const void* values, size_t at, size_t stride, const AttentionTask& task, int first,
                             const float* inverse, int d, int size) {
  V a[Q][C];
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) a[q][c] = zero();
  for (int p = task.begin; p < task.end; ++p) {
    V v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = loadCached<HALF>(values, at + p * stride + d + c * VW);
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
      const V w = splat(task.scores[q * task.scoreStride + p - first]);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) a[q][c] = fma(w, v[c], a[q][c]);
    }
  }
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) storeTo(task.outs + q * size, d + c * VW, size, mul(a[q][c], splat(inverse[q])));
}

template <int Q, bool HALF>
static void attend(const AttentionTask& task) {
  const CacheLayer& cache = *task.cache;
  const int size = cache.headSize, first = task.begin / VW * VW;
  const size_t keyBase = task.kvHead * cache.keyPlane;
  constexpr int P = Q == 1 ? 4 : Q == 2 ? 2 : 1;
  int p = first;
  for (; p + P * VW <= task.end; p += P * VW)
    scoreBlocks<Q, P, HALF>(cache.keys, keyBase + static_cast<size_t>(p) * size, task, size, task.scores + p - first);
  for (; p < task.end; p += VW)
    scoreBlocks<Q, 1, HALF>(cache.keys, keyBase + static_cast<size_t>(p) * size, task, size, task.scores + p - first);
  float inverse[Q];
  for (int q = 0; q < Q; ++q) inverse[q] = weigh(task.scores + q * task.scoreStride, task.begin, task.end);
  const size_t valueBase = task.kvHead * cache.valuePlane;
  int d = 0;
  for (; d + 4 * VW <= size; d += 4 * VW)
    mixValues<Q, 4, HALF>(cache.values, valueBase, cache.valueStride, task, first, inverse, d, size);
  for (; d < size; d += VW)
    mixValues<Q, 1, HALF>(cache.values, valueBase, cache.valueStride, task, first, inverse, d, size);
}

template <bool HALF>
static void attendAny(const AttentionTask& task) {
  switch (task.count) {
    case 1: return attend<1, HALF>(task);
    case 2: return attend<2, HALF>(task);
    case 3: return attend<3, HALF>(task);
    default: return attend<4, HALF>(task);
  }
}

static void attention(const AttentionTask& task) {
  if (task.cache->half) attendAny<true>(task);
  else attendAny<false>(task);
}

}  // namespace duobit::KERNEL_ISA
