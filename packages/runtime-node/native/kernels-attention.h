// Attention over the KV cache; included by the file of each instruction set.
//
// Positions are taken in blocks. For each block the scores of a row's queries are computed, turned into weights relative to
// the largest score so far, and the values added up with them; what was added up before is scaled down when a larger score
// appears. So the memory for scores does not grow with the context, and several rows can use a block while it is in the
// cache. Everything a row gets depends on its own positions and parts only, not on threads or on the rows beside it.
#pragma once
#include "kernels-cache.h"

/** Inner loops in functions of their own: inlined into one, they push each other's sums out of the registers. */
#define APART __attribute__((noinline))

namespace duobit::KERNEL_ISA {

/** Q queries of one row, gathered and scaled; their scores and weights in a block. */
struct QueryBlock {
  float *queries, *sums, *scores, *weights;
  int stride;
  float *outs, *stats;
};

/** Scores of Q queries at P tiles of positions, over one group of dimensions (all dimensions of a float cache). */
template <int Q, int P, CacheKind KIND>
static APART void scoreGroup(const CacheLayer& cache, const uint8_t* tiles, const QueryBlock& block, int group, float* scores) {
  constexpr int N = CACHED_VECTORS<KIND>;
  const int from = isCoded(KIND) ? group * CACHE_GROUP : 0, size = cache.headSize;
  const int to = isCoded(KIND) && size - from > CACHE_GROUP ? from + CACHE_GROUP : size;
  const uint8_t* keys = tiles + tileParams(cache);
  V a[Q][P];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) a[q][p] = zero();
  for (int d = from; d < to; d += N) {
    V k[P][N];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) loadCached<KIND>(keys + p * cache.keyTile + static_cast<size_t>(d / N) * CACHED_BYTES<KIND>, k[p]);
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j)
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) {
        const V x = splat(block.queries[q * block.stride + d + j]);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) a[q][p] = fma(x, k[p][j], a[q][p]);
      }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    V low, step;
    if constexpr (isCoded(KIND)) {
      const uint16_t* params = reinterpret_cast<const uint16_t*>(tiles + p * cache.keyTile) + group * 2 * VW;
      low = loadHalf(params);
      step = loadHalf(params + VW);
    }
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q) {
      float* out = scores + q * ATTENTION_BLOCK + p * VW;
      if constexpr (isCoded(KIND)) {
        const V before = group > 0 ? load(out) : zero();
        const V offset = fma(splat(block.sums[q * block.stride + group]), low, before);
        store(out, fma(a[q][p], step, offset));
      } else {
        store(out, a[q][p]);
      }
    }
  }
}

template <int Q, int P, CacheKind KIND>
static inline void scoreTiles(const CacheLayer& cache, const uint8_t* tiles, const QueryBlock& block, float* scores) {
  const int groups = isCoded(KIND) ? (cache.headSize + CACHE_GROUP - 1) / CACHE_GROUP : 1;
  for (int group = 0; group < groups; ++group) scoreGroup<Q, P, KIND>(cache, tiles, block, group, scores);
}

/**
 * Turns the scores of a query into e^(score - largest so far), in place, and brings its stats up to date. Lanes before
 * `begin` and from `end` on get no weight. Returns what earlier sums must be multiplied with.
 */
static inline float weigh(float* scores, int lanes, int begin, int end, float* stats) {
  const float lowestScore = -__builtin_inff();
  for (int p = 0; p < begin; ++p) scores[p] = lowestScore;
  for (int p = end; p < lanes; ++p) scores[p] = lowestScore;
  V top = splat(stats[0]);
  for (int p = 0; p < lanes; p += VW) top = max(top, load(scores + p));
  const float most = highest(top);
  V total = zero();
  for (int p = 0; p < lanes; p += VW) {
    const V e = exponential(sub(load(scores + p), splat(most)));
    store(scores + p, e);
    total = add(total, e);
  }
  alignas(64) float factor[VW];
  store(factor, exponential(splat(stats[0] - most)));
  stats[0] = most;
  stats[1] = stats[1] * factor[0] + sum(total);
  return factor[0];
}

/**
 * weights[p] = scores[p] * step of position p, for values of one group; returns the sum of scores[p] * offset of position p.
 * The offsets of lanes that are not seen are not read: they may hold anything.
 */
static inline float weighGroup(const float* scores, const uint8_t* tile, size_t tileBytes, int group, int lanes, int begin,
                               int end, float* weights) {
  V total = zero();
  for (int p = 0; p < lanes; p += VW, tile += tileBytes) {
    const uint16_t* params = reinterpret_cast<const uint16_t*>(tile) + group * 2 * VW;
    const V e = load(scores + p);
    V low = loadHalf(params);
    if (p < begin || p + VW > end) {
      alignas(64) float seen[VW];
      store(seen, low);
      for (int i = 0; i < VW; ++i)
        if (p + i < begin || p + i >= end) seen[i] = 0;
      low = load(seen);
    }
    store(weights + p, mul(e, loadHalf(params + VW)));
    total = fma(e, low, total);
  }
  return sum(total);
}

static inline V loadWithin(const float* p, int k, int n) { return k < n ? loadTo(p, k, n) : zero(); }
static inline void storeWithin(float* p, int k, int n, V v) {
  if (k < n) storeTo(p, k, n, v);
}

/** outs[q][d …] = outs * factor + shift + sum over positions of weight * value, for C vectors of dimensions. */
template <int Q, int C, CacheKind KIND>
static APART void mixValues(const CacheLayer& cache, const uint8_t* tile, const QueryBlock& block, const float* weights,
                             int begin, int end, const float* factor, const float* shift, int d) {
  constexpr int N = CACHED_VECTORS<KIND>;
  const int size = cache.headSize;
  const size_t params = tileParams(cache), row = (cache.valueTile - params) / VW;
  V a[Q][C];
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const V before = mul(loadWithin(block.outs + q * size, d + c * VW, size), splat(factor[q]));
      a[q][c] = isCoded(KIND) ? add(before, splat(shift[q])) : before;
    }
  for (int first = 0; first < end; first += VW, tile += cache.valueTile) {
    const int least = begin > first ? begin : first, most = end < first + VW ? end : first + VW;
    const uint8_t* at = tile + params + static_cast<size_t>(d / VW / N) * CACHED_BYTES<KIND> + (least - first) * row;
    for (int p = least; p < most; ++p, at += row) {
      V w[Q];
#pragma GCC unroll 8
      for (int q = 0; q < Q; ++q) w[q] = splat(weights[q * ATTENTION_BLOCK + p]);
#pragma GCC unroll 8
      for (int c = 0; c < C; c += N) {
        V v[N];
        loadCached<KIND>(at + c / N * CACHED_BYTES<KIND>, v);
#pragma GCC unroll 2
        for (int j = 0; j < N; ++j)
#pragma GCC unroll 8
          for (int q = 0; q < Q; ++q) a[q][c + j] = fma(w[q], v[j], a[q][c + j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) storeWithin(block.outs + q * size, d + c * VW, size, a[q][c]);
}

/** The positions [begin, end) of a block that starts with a whole tile at `first`. */
template <int Q, CacheKind KIND>
static void attendBlock(const AttentionTask& task, const QueryBlock& block, int first, int begin, int end) {
  const CacheLayer& cache = *task.cache;
  const int lanes = (end - first + VW - 1) / VW * VW, size = cache.headSize;
  // As many sums as the registers of the smallest set hold.
  constexpr int P = Q == 1 ? 8 : Q == 2 ? 4 : Q == 3 ? 3 : 2, N = CACHED_VECTORS<KIND>;
  const uint8_t* keys = cache.keys + task.kvHead * cache.keyPlane + first / VW * cache.keyTile;
  const uint8_t* values = cache.values + task.kvHead * cache.valuePlane + first / VW * cache.valueTile;
  int p = 0;
  for (; p + P * VW <= lanes; p += P * VW) scoreTiles<Q, P, KIND>(cache, keys + p / VW * cache.keyTile, block, block.scores + p);
  for (; p < lanes; p += VW) scoreTiles<Q, 1, KIND>(cache, keys + p / VW * cache.keyTile, block, block.scores + p);
  float factor[Q], shift[Q] = {};
  for (int q = 0; q < Q; ++q)
    factor[q] = weigh(block.scores + q * ATTENTION_BLOCK, lanes, begin - first, end - first, block.stats + 2 * q);
  const int width = isCoded(KIND) ? CACHE_GROUP : size;
  // Vectors of dimensions at a time: of one group, and as many as registers hold.
  constexpr int most = Q == 4 ? 2 : 4, C = isCoded(KIND) && CACHE_GROUP / VW < most ? CACHE_GROUP / VW : most;
  for (int from = 0, group = 0; from < size; from += width, ++group) {
    const float* weights = block.scores;
    if constexpr (isCoded(KIND)) {
      weights = block.weights;
      for (int q = 0; q < Q; ++q)
        shift[q] = weighGroup(block.scores + q * ATTENTION_BLOCK, values, cache.valueTile, group, lanes, begin - first,
                              end - first, block.weights + q * ATTENTION_BLOCK);
    }
    const int to = size - from < width ? size : from + width;
    int d = from;
    for (; d + C * VW <= to; d += C * VW)
      mixValues<Q, C, KIND>(cache, values, block, weights, begin - first, end - first, factor, shift, d);
    for (; d < to; d += N * VW)
      mixValues<Q, N, KIND>(cache, values, block, weights, begin - first, end - first, factor, shift, d);
  }
}

/** Queries of one row from `from` on, at the positions of one block. */
template <int Q, CacheKind KIND>
static void attendRow(const AttentionTask& task, int row, int from, int first, int begin, int end) {
  const int size = task.cache->headSize, stride = size + CACHE_GROUP;
  float* scratch = task.scratch;
  float* stats = task.stats ? task.stats : scratch + MOST_QUERIES * 2 * (ATTENTION_BLOCK + stride);
  const QueryBlock block = {scratch,
                            scratch + MOST_QUERIES * stride,
                            scratch + MOST_QUERIES * 2 * stride,
                            scratch + MOST_QUERIES * (2 * stride + ATTENTION_BLOCK),
                            stride,
                            task.outs + row * task.outStride + from * size,
                            stats + 2 * (row * task.count + from)};
  const float* queries = task.queries + row * task.queryStride + from * size;
  for (int q = 0; q < Q; ++q) {
    float* own = block.queries + q * stride;
    for (int d = 0; d < size; d += VW) storeTo(own, d, size, mul(loadTo(queries + q * size, d, size), splat(task.scale)));
    own[size] = 0;
    if constexpr (isCoded(KIND))
      for (int d = 0, group = 0; d < size; d += CACHE_GROUP, ++group) {
        V total = zero();
        const int to = size - d < CACHE_GROUP ? size : d + CACHE_GROUP;
        for (int i = d; i < to; i += VW) total = add(total, loadTo(own, i, to));
        block.sums[q * stride + group] = sum(total);
      }
  }
  attendBlock<Q, KIND>(task, block, first, begin, end);
}

template <CacheKind KIND>
static void attend(const AttentionTask& task) {
  const int size = task.cache->headSize;
  float* stats = task.stats ? task.stats : task.scratch + MOST_QUERIES * 2 * (ATTENTION_BLOCK + size + CACHE_GROUP);
  for (int row = 0; row < task.rows; ++row) {
    __builtin_memset(task.outs + row * task.outStride, 0, sizeof(float) * size * task.count);
    for (int q = 0; q < task.count; ++q) {
      stats[2 * (row * task.count + q)] = -__builtin_inff();
      stats[2 * (row * task.count + q) + 1] = 0;
    }
  }
  // Queries are spread evenly over the passes: 5 are 3 and 2.
  const int passes = (task.count + MOST_QUERIES - 1) / MOST_QUERIES;
  for (int first = task.first / VW * VW; first < task.end; first += ATTENTION_BLOCK)
    for (int row = 0; row < task.rows; ++row) {
      const int seen = task.position + row + 1, oldest = task.window > 0 && seen > task.window ? seen - task.window : 0;
      int begin = task.first > oldest ? task.first : oldest, end = task.end < seen ? task.end : seen;
      begin = begin > first ? begin : first;
      end = end < first + ATTENTION_BLOCK ? end : first + ATTENTION_BLOCK;
      if (begin >= end) continue;
      for (int pass = 0; pass < passes; ++pass) {
        const int from = task.count * pass / passes, queries = task.count * (pass + 1) / passes - from;
        switch (queries) {
          case 1: attendRow<1, KIND>(task, row, from, first, begin, end); break;
          case 2: attendRow<2, KIND>(task, row, from, first, begin, end); break;
          case 3: attendRow<3, KIND>(task, row, from, first, begin, end); break;
          default: attendRow<4, KIND>(task, row, from, first, begin, end);
        }
      }
    }
  if (task.stats) return;
  for (int row = 0; row < task.rows; ++row)
    for (int q = 0; q < task.count; ++q) {
      float* out = task.outs + row * task.outStride + q * size;
      const V inverse = splat(1.0f / stats[2 * (row * task.count + q) + 1]);
      for (int d = 0; d < size; d += VW) storeTo(out, d, size, mul(loadTo(out, d, size), inverse));
    }
}

static void attention(const AttentionTask& task) {
  switch (task.cache->kind) {
    case CacheKind::F32: return attend<CacheKind::F32>(task);
    case CacheKind::F16: return attend<CacheKind::F16>(task);
    case CacheKind::Int8: return attend<CacheKind::Int8>(task);
    case CacheKind::Int4: return attend<CacheKind::Int4>(task);
  }
}

/** Puts the parts of a row's positions together. A part without a visible position has the largest score -infinity, sum 0. */
static void mergeAttention(const float* stats, const float* mixes, int parts, int headCount, int headSize, float* out) {
  for (int head = 0; head < headCount; ++head, out += headSize) {
    float most = -__builtin_inff();
    for (int part = 0; part < parts; ++part) {
      const float top = stats[2 * (part * headCount + head)];
      most = top <= most ? most : top;
    }
    float total = 0;
    for (int part = 0; part < parts; ++part) {
      const float* own = stats + 2 * (part * headCount + head);
      const float* mix = mixes + static_cast<size_t>(part * headCount + head) * headSize;
      const V factor = exponential(splat(own[0] - most));
      alignas(64) float f[VW];
      store(f, factor);
      total += own[1] * f[0];
      for (int d = 0; d < headSize; d += VW) {
        const V before = part > 0 ? loadTo(out, d, headSize) : zero();
        storeTo(out, d, headSize, fma(factor, loadTo(mix, d, headSize), before));
      }
    }
    const V inverse = splat(1.0f / total);
    for (int d = 0; d < headSize; d += VW) storeTo(out, d, headSize, mul(loadTo(out, d, headSize), inverse));
  }
}

}  // namespace duobit::KERNEL_ISA

#undef APART
