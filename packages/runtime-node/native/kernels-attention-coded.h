// Scores and sums of values over an int8 or int4 cache; part of kernels-attention.h. Queries, and weights of positions, are
// rounded to 16 bits with one step for every CACHE_GROUP of them, so that all sums are of integers and exact
// (docs/numerics.md "Attention over codes" has the bound). Queries over dimensions and weights over positions are the same sums.
#pragma once
#include "kernels-attention-block.h"

namespace duobit::KERNEL_ISA {

constexpr int GROUP_VECTORS = CACHE_GROUP / VW, GROUP_PAIRS = CACHE_GROUP / 2, BLOCK_UNITS = ATTENTION_BLOCK / CACHE_GROUP;
/** Pairs that hold the first n of a row: whole runs of 2 VW. */
static inline int pairsOf(int n) { return (n + 2 * VW - 1) / (2 * VW) * VW; }

/** Rounds CACHE_GROUP numbers, the largest in magnitude of which is `most`, to the cache's pairs of int16; returns the step. */
static inline float roundPairs(const V* x, float most, int32_t* pairs) {
  // What is not finite gives any codes: its sums are not finite either.
  const bool usable = most >= SMALLEST;
  const V inverse = splat(usable ? 32767 / most : 0);
#pragma GCC unroll 8
  for (int i = 0; i < GROUP_VECTORS; i += 2)
    storeIntegers(pairs + i / 2 * VW, pairShorts(toIntegers(mul(x[i], inverse)), toIntegers(mul(x[i + 1], inverse))));
  return usable ? most * (1.0f / 32767) : 0;
}

/** Floats that a query takes. */
static inline int codedStride(int groups) { return groups * (GROUP_PAIRS + 2); }

static inline CodedQuery codedQuery(float* at, int groups) {
  float* const steps = at + groups * GROUP_PAIRS;
  return {reinterpret_cast<int32_t*>(at), steps, steps + groups};
}

static void roundQuery(const float* x, int size, float scale, const CodedQuery& to) {
  for (int from = 0, group = 0; from < size; from += CACHE_GROUP, ++group) {
    V part[GROUP_VECTORS], total = zero(), top = zero();
    for (int i = 0; i < GROUP_VECTORS; ++i) {
      const int d = from + i * VW;
      part[i] = mul(loadWithin(x, d, size), splat(scale));
      top = max(top, abs(part[i]));
      // Infinite values become NaN.
      total = add(total, add(part[i], sub(part[i], part[i])));
    }
    to.steps[group] = roundPairs(part, highest(top), to.pairs + group * GROUP_PAIRS);
    to.sums[group] = sum(total);
  }
}

/** A vector of codes as bytes; of int4 two, the low and the high nibbles. */
template <CacheKind KIND>
static inline void loadCodes(const uint8_t* p, B* out) {
  out[0] = loadBytes(p);
  if constexpr (KIND == CacheKind::Int4) {
    out[1] = lowNibbles(shiftRight4(out[0]));
    out[0] = lowNibbles(out[0]);
  }
}
template <CacheKind KIND>
constexpr int CODE_VECTORS = KIND == CacheKind::Int4 ? 2 : 1;

/**
 * sums[q][p] = sum of Q rows of rounded factors times the codes of P vectors of lanes, which are `stride` bytes apart. `KEYS`:
 * the nibbles of a byte belong to two pairs, else to two of the P.
 */
template <int Q, int P, CacheKind KIND, bool KEYS>
static inline void sumPairs(const uint8_t* data, size_t stride, int pairs, const int32_t* factors, size_t factorStride,
                            const uint8_t* ahead, I sums[Q][P]) {
  constexpr int N = CODE_VECTORS<KIND>, K = KEYS ? N : 1, LOADS = KEYS ? P : P / N;
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) sums[q][p] = integers(0);
  for (int pair = 0; pair < pairs; pair += 2 * K, data += 4 * VW, ahead += 4 * VW * LOADS) {
    for (int line = 0; line < 4 * VW * LOADS; line += 64) __builtin_prefetch(ahead + line);
    B codes[LOADS][N];
#pragma GCC unroll 8
    for (int l = 0; l < LOADS; ++l) loadCodes<KIND>(data + l * stride, codes[l]);
#pragma GCC unroll 4
    for (int k = 0; k < 2 * K; ++k) {
      B w[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        const B both = KEYS ? codes[p][k / 2] : codes[p / N][p % N];
        w[p] = k % 2 == 0 ? lowBytes(both) : shortsRight8(both);
      }
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        const uint8_t* const x = reinterpret_cast<const uint8_t*>(factors + q * factorStride + pair + k);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) sums[q][p] = dotPairs(sums[q][p], x, w[p]);
      }
    }
  }
}

/** Scores of Q queries at P tiles of positions. */
template <int Q, int P, CacheKind KIND>
static APART void scoreCodes(const CacheLayer& cache, const QueryBlock& block, const uint8_t* tiles, const uint8_t* ahead,
                             float* scores) {
  constexpr int BYTES = 2 * VW / CODE_VECTORS<KIND>;  // of a pair
  const CodedQuery& query = block.coded;
  const uint16_t* params = reinterpret_cast<const uint16_t*>(tiles);
  const uint8_t* data = tiles + cacheGroups(cache) * sizeof(uint16_t) * KEY_PARAMS;
  V s[Q][P];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) s[q][p] = zero();
  for (int from = 0, group = 0; from < cache.headSize; from += CACHE_GROUP, ++group, params += KEY_PARAMS) {
    const int left = cache.headSize - from, pairs = left < CACHE_GROUP ? pairsOf(left) : GROUP_PAIRS;
    I sums[Q][P];
    sumPairs<Q, P, KIND, true>(data, cache.keyTile, pairs, query.pairs + group * GROUP_PAIRS, block.stride, ahead, sums);
    data += pairs * BYTES;
    ahead += pairs * BYTES * P;
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const V low = loadHalf(params + p * (cache.keyTile / sizeof(uint16_t)));
      const V step = loadHalf(params + p * (cache.keyTile / sizeof(uint16_t)) + VW);
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        s[q][p] = fma(splat(query.sums[q * block.stride + group]), low, s[q][p]);
        s[q][p] = fma(mul(toFloats(sums[q][p]), splat(query.steps[q * block.stride + group])), step, s[q][p]);
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) store(scores + q * ATTENTION_BLOCK + p * VW, s[q][p]);
}

/** Offsets or steps of positions; 0 for those that are not seen, which may hold anything. */
static inline V loadSeen(const uint16_t* params, int p, int begin, int end) {
  const V all = loadHalf(params + p);
  if (p >= begin && p + VW <= end) return all;
  alignas(64) float seen[VW];
  store(seen, all);
  for (int i = 0; i < VW; ++i)
    if (p + i < begin || p + i >= end) seen[i] = 0;
  return load(seen);
}

/** What Q queries take of a group of dimensions of a block's values: value = offset + step * code. */
template <int Q>
struct Shares {
  /** Scores times steps, rounded for each unit of CACHE_GROUP positions. */
  alignas(64) int32_t pairs[Q][ATTENTION_BLOCK / 2];
  float steps[Q][BLOCK_UNITS];
  /** Sums of scores times offsets. */
  float offsets[Q];
};

template <int Q>
static APART void roundShares(const float* scores, const uint16_t* params, int begin, int end, Shares<Q>& to) {
  V offsets[Q];
  for (int q = 0; q < Q; ++q) offsets[q] = zero();
  for (int unit = begin / CACHE_GROUP; unit * CACHE_GROUP < end; ++unit) {
    V low[GROUP_VECTORS], step[GROUP_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < GROUP_VECTORS; ++i) {
      low[i] = loadSeen(params, unit * CACHE_GROUP + i * VW, begin, end);
      step[i] = loadSeen(params + ATTENTION_BLOCK, unit * CACHE_GROUP + i * VW, begin, end);
    }
    for (int q = 0; q < Q; ++q) {
      V shares[GROUP_VECTORS], top = zero();
#pragma GCC unroll 8
      for (int i = 0; i < GROUP_VECTORS; ++i) {
        const V score = load(scores + q * ATTENTION_BLOCK + unit * CACHE_GROUP + i * VW);
        offsets[q] = fma(score, low[i], offsets[q]);
        shares[i] = mul(score, step[i]);
        top = max(top, shares[i]);
      }
      to.steps[q][unit] = roundPairs(shares, highest(top), to.pairs[q] + unit * GROUP_PAIRS);
    }
  }
  for (int q = 0; q < Q; ++q) to.offsets[q] = sum(offsets[q]);
}

/** outs[q][d …] = outs * factor + what is taken of P vectors of dimensions of a group. */
template <int Q, int P, CacheKind KIND>
static APART void mixCodes(const QueryBlock& block, const BlockData& data, const uint8_t* values, const uint8_t* ahead,
                           const Shares<Q>& shares, const float* factor, int size, int d) {
  constexpr int N = CODE_VECTORS<KIND>, BYTES = 2 * VW;  // of a pair in N vectors
  V a[Q][P];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      a[q][p] = fma(loadWithin(block.outs + q * size, d + p * VW, size), splat(factor[q]), splat(shares.offsets[q]));
  for (int pair = data.begin / (2 * VW) * VW, last = pairsOf(data.end), next; pair < last; pair = next) {
    const int unit = pair / GROUP_PAIRS;
    next = (unit + 1) * GROUP_PAIRS < last ? (unit + 1) * GROUP_PAIRS : last;
    I sums[Q][P];
    sumPairs<Q, P, KIND, false>(values + pair * BYTES, ATTENTION_BLOCK * VW, next - pair, shares.pairs[0] + pair,
                                ATTENTION_BLOCK / 2, ahead + pair * BYTES * (P / N), sums);
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) a[q][p] = fma(toFloats(sums[q][p]), splat(shares.steps[q][unit]), a[q][p]);
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) storeWithin(block.outs + q * size, d + p * VW, size, a[q][p]);
}

template <int Q, CacheKind KIND>
static inline void attendCodes(const CacheLayer& cache, const QueryBlock& block, const BlockData& data) {
  // As many sums as the registers of the smallest set hold.
  constexpr int N = CODE_VECTORS<KIND>, P = Q > 2 ? 2 : 4, C = GROUP_VECTORS < P ? GROUP_VECTORS : P;
  int p = data.begin / VW * VW;
  const auto score = [&](auto kernel) {
    const uint8_t* const tiles = data.keys + p / VW * cache.keyTile;
    kernel(cache, block, tiles, data.ahead(tiles), block.scores + p);
  };
  for (; p + P * VW <= data.end; p += P * VW) score(scoreCodes<Q, P, KIND>);
  for (; p < data.end; p += VW) score(scoreCodes<Q, 1, KIND>);
  float factor[Q];
  weigh<Q>(block, data.begin, data.end, factor);
  // Units of positions are rounded whole.
  for (int q = 0; q < Q; ++q) {
    float* const scores = block.scores + q * ATTENTION_BLOCK;
    for (int i = data.begin / CACHE_GROUP * CACHE_GROUP; i < data.begin / VW * VW; ++i) scores[i] = 0;
    for (int i = (data.end + VW - 1) / VW * VW; i % CACHE_GROUP != 0; ++i) scores[i] = 0;
  }
  const int size = cache.headSize;
  for (int from = 0; from < size; from += CACHE_GROUP) {
    const uint8_t* const values = data.values + from / CACHE_GROUP * cache.valueTile;
    const uint8_t* const codes = values + sizeof(uint16_t) * VALUE_PARAMS;
    Shares<Q> shares;
    roundShares<Q>(block.scores, reinterpret_cast<const uint16_t*>(values), data.begin, data.end, shares);
    const int to = size - from < CACHE_GROUP ? size : from + CACHE_GROUP;
    int d = from;
    const auto mix = [&](auto kernel) {
      const uint8_t* const at = codes + (d - from) / VW * (ATTENTION_BLOCK * VW / N);
      kernel(block, data, at, data.ahead(at), shares, factor, size, d);
    };
    for (; d + C * VW <= to; d += C * VW) mix(mixCodes<Q, C, KIND>);
    for (; d < to; d += N * VW) mix(mixCodes<Q, N, KIND>);
  }
}

}  // namespace duobit::KERNEL_ISA
