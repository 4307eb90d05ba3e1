// Queries of a row at one block of positions: what attention over every precision of the cache has in common; part of
// kernels-attention.h.
#pragma once
#include "kernels-cache.h"

/** Inner loops in functions of their own: inlined into one, they push each other's sums out of the registers. */
#define APART __attribute__((noinline))

namespace duobit::KERNEL_ISA {

/** A query rounded for sums over codes: pairs of its values and their step for each group of dimensions, and sums of values. */
struct CodedQuery {
  int32_t* pairs;
  float *steps, *sums;
};

/** Queries of one row, `stride` floats apart, and what becomes of them. */
struct QueryBlock {
  /** For a float cache as the caller gave them, for one with codes rounded (and scaled). */
  const float* queries;
  CodedQuery coded;
  size_t stride;
  float scale;
  /** Of a block: [query][ATTENTION_BLOCK], in the end the weights e^(score - largest so far). */
  float* scores;
  float *outs, *stats;
};

/** The positions [begin, end) of a block that are seen. */
struct BlockData {
  const uint8_t *keys, *values, *next;
  /** From the end of the head's part of this block to that of the next. */
  size_t gap;
  int begin, end;
  /** What to fetch while the bytes at `at` are worked on. */
  const uint8_t* ahead(const uint8_t* at) const {
    at += FETCH_AHEAD;
    return at < next ? at : at + gap;
  }
};

static inline V loadWithin(const float* p, int k, int n) { return k < n ? loadTo(p, k, n) : zero(); }
static inline void storeWithin(float* p, int k, int n, V v) {
  if (k < n) storeTo(p, k, n, v);
}

/**
 * Turns scores into e^(score - largest so far), in place, and brings stats up to date. Lanes that are not seen get no weight.
 * factor[q]: what earlier sums must be multiplied with.
 */
template <int Q>
static APART void weigh(const QueryBlock& block, int begin, int end, float* factor) {
  const int first = begin / VW * VW, last = (end + VW - 1) / VW * VW;
  // All queries side by side: one alone would wait for itself.
  V most[Q], total[Q];
  for (int q = 0; q < Q; ++q) {
    float* const scores = block.scores + q * ATTENTION_BLOCK;
    for (int p = first; p < begin; ++p) scores[p] = -__builtin_inff();
    for (int p = end; p < last; ++p) scores[p] = -__builtin_inff();
    V top = splat(block.stats[2 * q]);
    for (int p = first; p < last; p += VW) top = max(top, load(scores + p));
    most[q] = splat(highest(top));
    total[q] = zero();
  }
  for (int p = first; p < last; p += VW)
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
      float* const score = block.scores + q * ATTENTION_BLOCK + p;
      const V e = exponential(sub(load(score), most[q]));
      store(score, e);
      total[q] = add(total[q], e);
    }
  for (int q = 0; q < Q; ++q) {
    float* const stats = block.stats + 2 * q;
    alignas(64) float top[VW], change[VW];
    store(top, most[q]);
    store(change, exponential(sub(splat(stats[0]), most[q])));
    stats[0] = top[0];
    stats[1] = stats[1] * change[0] + sum(total[q]);
    factor[q] = change[0];
  }
}

}  // namespace duobit::KERNEL_ISA
