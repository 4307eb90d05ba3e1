// Attention over the KV cache; included by the file of each instruction set.
//
// Positions are taken in blocks. For each block the scores of a row's queries are computed, turned into weights relative to
// the largest score so far, and the values added up with them; what was added up before is scaled down when a larger score
// appears. So the memory for scores does not grow with the context, and several rows can use a block while it is in the
// cache. A row's positions are taken in parts, one after the other, or by several threads at once where there are few rows; what the
// parts gave is put together in their order. So what a row gets depends on its own positions only, not on threads, nor on the rows
// beside it.
#pragma once
#include "kernels-attention-coded.h"
#include "kernels-attention-float.h"

namespace duobit::KERNEL_ISA {

template <int Q, CacheKind KIND>
static void attendBlock(const CacheLayer& cache, const QueryBlock& block, const BlockData& data) {
  if constexpr (isCoded(KIND)) attendCodes<Q, KIND>(cache, block, data);
  else attendFloats<Q, KIND>(cache, block, data);
}

/**
 * Adds to what a row's earlier parts gave a query what a later one gave. Of each the largest score and the sum of weights, and values
 * that are still to be divided by it. In a function of its own, so that all do the same.
 */
static APART void mergePart(float* stats, float* out, const float* later, const float* mix, int size) {
  const float most = later[0] <= stats[0] ? stats[0] : later[0];
  const V before = exponential(splat(stats[0] - most)), added = exponential(splat(later[0] - most));
  alignas(64) float f[VW], g[VW];
  store(f, before);
  store(g, added);
  stats[0] = most;
  stats[1] = stats[1] * f[0] + later[1] * g[0];
  for (int d = 0; d < size; d += VW)
    storeTo(out, d, size, fma(added, loadTo(mix, d, size), mul(before, loadTo(out, d, size))));
}

static inline void divideBySum(float* out, float total, int size) {
  const V inverse = splat(1.0f / total);
  for (int d = 0; d < size; d += VW) storeTo(out, d, size, mul(loadTo(out, d, size), inverse));
}

/** How far a row has come in the parts of its positions. */
struct RowParts {
  int length, next;
  bool isFirst;
};

template <CacheKind KIND>
static void attend(const AttentionTask& task) {
  const CacheLayer& cache = *task.cache;
  const int size = cache.headSize, count = task.count, groups = cacheGroups(cache), queries = ATTENTION_ROWS * count;
  const size_t stride = isCoded(KIND) ? codedStride(groups) : size;
  float* const scores = task.scratch;
  float* const rounded = scores + MOST_QUERIES * ATTENTION_BLOCK;
  float* const own = rounded + queries * codedStride(groups);
  float* const stats = task.stats ? task.stats : own;
  // Of a part that is not a row's first.
  float *const laterStats = own + 2 * queries, *const laterMixes = laterStats + 2 * queries;
  const auto clear = [&](float* of, float* outs) {
    __builtin_memset(outs, 0, sizeof(float) * size * count);
    for (int q = 0; q < count; ++q) {
      of[2 * q] = -__builtin_inff();
      of[2 * q + 1] = 0;
    }
  };
  const auto merge = [&](int row) {
    for (int q = 0; q < count; ++q)
      mergePart(stats + 2 * (row * count + q), task.outs + row * task.outStride + q * size,
                laterStats + 2 * (row * count + q), laterMixes + (row * count + q) * size, size);
  };
  RowParts parts[ATTENTION_ROWS];
  for (int row = 0; row < task.rows; ++row) {
    const int seen = task.position + row + 1, begin = oldestSeen(seen, task.window) / 16 * 16, length = partLength(seen - begin);
    parts[row] = {length, task.stats ? task.end : begin + length, true};
    clear(stats + 2 * row * count, task.outs + row * task.outStride);
    if constexpr (isCoded(KIND))
      for (int q = 0; q < count; ++q)
        roundQuery(task.queries + row * task.queryStride + q * size, size, task.scale,
                   codedQuery(rounded + (row * count + q) * stride, groups));
  }
  // Queries are spread evenly over the passes: 5 are 3 and 2.
  const int passes = (count + MOST_QUERIES - 1) / MOST_QUERIES;
  for (int first = task.first / ATTENTION_BLOCK * ATTENTION_BLOCK; first < task.end; first += ATTENTION_BLOCK) {
    BlockData data{};
    data.keys = keysOf(cache, task.kvHead, first);
    data.values = valuesOf(cache, task.kvHead, first);
    data.next = data.keys + cache.headBytes;
    data.gap = cache.blockBytes - cache.headBytes;
    for (int row = 0; row < task.rows; ++row) {
      const int seen = task.position + row + 1, oldest = oldestSeen(seen, task.window);
      const int last = task.end < seen ? task.end : seen, end = last < first + ATTENTION_BLOCK ? last : first + ATTENTION_BLOCK;
      int begin = task.first > oldest ? task.first : oldest;
      if (begin < first) begin = first;
      while (begin < end) {
        RowParts& part = parts[row];
        if (begin == part.next) {
          if (!part.isFirst) merge(row);
          clear(laterStats + 2 * row * count, laterMixes + row * count * size);
          part = {part.length, part.next + part.length, false};
        }
        const int stop = part.next < end ? part.next : end;
        data.begin = begin - first;
        data.end = stop - first;
        begin = stop;
        for (int pass = 0; pass < passes; ++pass) {
          const int from = count * pass / passes, some = count * (pass + 1) / passes - from, at = row * count + from;
          QueryBlock block{};
          if constexpr (isCoded(KIND)) block.coded = codedQuery(rounded + at * stride, groups);
          else block.queries = task.queries + row * task.queryStride + from * size;
          block.stride = stride;
          block.scale = task.scale;
          block.scores = scores;
          block.outs = part.isFirst ? task.outs + row * task.outStride + from * size : laterMixes + at * size;
          block.stats = (part.isFirst ? stats : laterStats) + 2 * at;
          switch (some) {
            case 1: attendBlock<1, KIND>(cache, block, data); break;
            case 2: attendBlock<2, KIND>(cache, block, data); break;
            case 3: attendBlock<3, KIND>(cache, block, data); break;
            default: attendBlock<4, KIND>(cache, block, data);
          }
        }
      }
    }
  }
  if (task.stats) return;
  for (int row = 0; row < task.rows; ++row) {
    if (!parts[row].isFirst) merge(row);
    for (int q = 0; q < count; ++q)
      divideBySum(task.outs + row * task.outStride + q * size, stats[2 * (row * count + q) + 1], size);
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

/** Puts the parts of a row's positions together, in their order, as `attend` does where it has all of them. */
static void mergeAttention(float* stats, const float* mixes, int parts, int headCount, int headSize, float* out) {
  const int each = headCount * headSize;
  __builtin_memcpy(out, mixes, sizeof(float) * each);
  for (int head = 0; head < headCount; ++head, out += headSize) {
    for (int part = 1; part < parts; ++part)
      mergePart(stats + 2 * head, out, stats + 2 * (part * headCount + head), mixes + static_cast<size_t>(part) * each + head * headSize,
                headSize);
    divideBySum(out, stats[2 * head + 1], headSize);
  }
}

}  // namespace duobit::KERNEL_ISA

#undef APART
