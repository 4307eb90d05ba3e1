// Scores and sums of values over an f32 or f16 cache; part of kernels-attention.h.
#pragma once
#include "kernels-attention-block.h"

namespace duobit::KERNEL_ISA {

template <CacheKind KIND>
constexpr int FLOAT_BYTES = KIND == CacheKind::F32 ? 4 : 2;

template <CacheKind KIND>
static inline V loadCached(const uint8_t* p) {
  if constexpr (KIND == CacheKind::F32) return load(reinterpret_cast<const float*>(p));
  else return loadHalf(reinterpret_cast<const uint16_t*>(p));
}

/** Scores of Q queries at P tiles of positions. */
template <int Q, int P, CacheKind KIND>
static APART void scoreFloats(const CacheLayer& cache, const QueryBlock& block, const uint8_t* tiles, const uint8_t* ahead,
                              float* scores) {
  constexpr int BYTES = VW * FLOAT_BYTES<KIND>;
  V a[Q][P];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) a[q][p] = zero();
  for (int d = 0; d < cache.headSize; ++d, tiles += BYTES, ahead += BYTES * P) {
    // Tiles are short streams, which the processor would learn one by one.
    __builtin_prefetch(ahead);
    V k[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) k[p] = loadCached<KIND>(tiles + p * cache.keyTile);
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q) {
      const V x = splat(block.queries[q * block.stride + d]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) a[q][p] = fma(x, k[p], a[q][p]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) store(scores + q * ATTENTION_BLOCK + p * VW, mul(a[q][p], splat(block.scale)));
}

/** outs[q][d …] = outs * factor + sum over positions of score * value, for C vectors of dimensions. */
template <int Q, int C, CacheKind KIND>
static APART void mixFloats(const CacheLayer& cache, const QueryBlock& block, const BlockData& data, const float* factor, int d) {
  constexpr int BYTES = VW * FLOAT_BYTES<KIND>;
  const int size = cache.headSize;
  const size_t row = cache.valueTile / VW;
  V a[Q][C];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) a[q][c] = mul(loadWithin(block.outs + q * size, d + c * VW, size), splat(factor[q]));
  // Rows follow one another through all tiles.
  const uint8_t* at = data.values + data.begin * row + d / VW * BYTES;
  for (int p = data.begin; p < data.end; ++p, at += row) {
    const uint8_t* const ahead = data.ahead(at);
    for (int line = 0; line < C * BYTES; line += 64) __builtin_prefetch(ahead + line);
    V w[Q];
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q) w[q] = splat(block.scores[q * ATTENTION_BLOCK + p]);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const V v = loadCached<KIND>(at + c * BYTES);
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) a[q][c] = fma(w[q], v, a[q][c]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) storeWithin(block.outs + q * size, d + c * VW, size, a[q][c]);
}

template <int Q, CacheKind KIND>
static inline void attendFloats(const CacheLayer& cache, const QueryBlock& block, const BlockData& data) {
  // As many sums as the registers of the smallest set hold.
  constexpr int P = Q == 1 ? 8 : Q == 2 ? 4 : Q == 3 ? 3 : 2, C = Q == 4 ? 2 : 4;
  int p = data.begin / VW * VW;
  const auto score = [&](auto kernel) {
    const uint8_t* const tiles = data.keys + p / VW * cache.keyTile;
    kernel(cache, block, tiles, data.ahead(tiles), block.scores + p);
  };
  for (; p + P * VW <= data.end; p += P * VW) score(scoreFloats<Q, P, KIND>);
  for (; p < data.end; p += VW) score(scoreFloats<Q, 1, KIND>);
  float factor[Q];
  weigh<Q>(block, data.begin, data.end, factor);
  int d = 0;
  for (; d + C * VW <= cache.headSize; d += C * VW) mixFloats<Q, C, KIND>(cache, block, data, factor, d);
  for (; d < cache.headSize; d += VW) mixFloats<Q, 1, KIND>(cache, block, data, factor, d);
}

}  // namespace duobit::KERNEL_ISA
