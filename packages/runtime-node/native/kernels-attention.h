// Attention over the KV cache; included by the file of each instruction set.
//
// Positions are taken in blocks. For each block the scores of a row's queries are computed, turned into weights relative to
// the largest score so far, and the values added up with them; what was added up before is scaled down when a larger score
// appears. So the memory for scores does not grow with the context, and several rows can use a block while it is in the
// cache. Everything a row gets depends on its own positions and parts only, not on threads or on the rows beside it.
#pragma once
#include "kernels-attention-coded.h"
#include "kernels-attention-float.h"

namespace duobit::KERNEL_ISA {

template <int Q, CacheKind KIND>
static void attendBlock(const CacheLayer& cache, const QueryBlock& block, const BlockData& data) {
  if constexpr (isCoded(KIND)) attendCodes<Q, KIND>(cache, block, data);
  else attendFloats<Q, KIND>(cache, block, data);
}

template <CacheKind KIND>
static void attend(const AttentionTask& task) {
  const CacheLayer& cache = *task.cache;
  const int size = cache.headSize, count = task.count, groups = cacheGroups(cache);
  const size_t stride = isCoded(KIND) ? codedStride(groups) : size;
  float* const scores = task.scratch;
  float* const rounded = scores + MOST_QUERIES * ATTENTION_BLOCK;
  float* const stats = task.stats ? task.stats : rounded + ATTENTION_ROWS * count * codedStride(groups);
  for (int row = 0; row < task.rows; ++row) {
    __builtin_memset(task.outs + row * task.outStride, 0, sizeof(float) * size * count);
    for (int q = 0; q < count; ++q) {
      const int at = row * count + q;
      stats[2 * at] = -__builtin_inff();
      stats[2 * at + 1] = 0;
      if constexpr (isCoded(KIND))
        roundQuery(task.queries + row * task.queryStride + q * size, size, task.scale, codedQuery(rounded + at * stride, groups));
    }
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
      const int seen = task.position + row + 1, oldest = task.window > 0 && seen > task.window ? seen - task.window : 0;
      const int begin = task.first > oldest ? task.first : oldest, end = task.end < seen ? task.end : seen;
      data.begin = begin > first ? begin - first : 0;
      data.end = end - first < ATTENTION_BLOCK ? end - first : ATTENTION_BLOCK;
      if (data.begin >= data.end) continue;
      for (int pass = 0; pass < passes; ++pass) {
        const int from = count * pass / passes, queries = count * (pass + 1) / passes - from, at = row * count + from;
        QueryBlock block{};
        if constexpr (isCoded(KIND)) block.coded = codedQuery(rounded + at * stride, groups);
        else block.queries = task.queries + row * task.queryStride + from * size;
        block.stride = stride;
        block.scale = task.scale;
        block.scores = scores;
        block.outs = task.outs + row * task.outStride + from * size;
        block.stats = stats + 2 * at;
        switch (queries) {
          case 1: attendBlock<1, KIND>(cache, block, data); break;
          case 2: attendBlock<2, KIND>(cache, block, data); break;
          case 3: attendBlock<3, KIND>(cache, block, data); break;
          default: attendBlock<4, KIND>(cache, block, data);
        }
      }
    }
  }
  if (task.stats) return;
  for (int row = 0; row < task.rows; ++row)
    for (int q = 0; q < count; ++q) {
      float* out = task.outs + row * task.outStride + q * size;
      const V inverse = splat(1.0f / stats[2 * (row * count + q) + 1]);
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
