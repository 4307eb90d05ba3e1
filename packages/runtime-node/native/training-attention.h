// Causal softmax attention over whole windows and its gradient, built on the tiles of training-product.h; included by the file of
// each instruction set.
//
// Of QUERY_ROWS queries all scores are in memory at once, so that softmax takes its maximum first and each exponential once; what
// lies above the diagonal is neither computed nor read, but for the tiles that it crosses. The gradient computes the weights anew
// from the sums that the forward pass kept (Dao et al. 2022), and adds up keys' and values' gradients block by block.
#pragma once
#include <cmath>

#include "training-product.h"

namespace duobit::KERNEL_ISA {

/** What one thread needs for a head, all in one piece of memory. */
struct AttentionScratch {
  int panels, dimensionPanels;
  /** Floats from one row of scores to the next: a tile may reach past the last position. */
  size_t stride;

  explicit AttentionScratch(const AttentionShape& s)
      : panels((s.tokens + PANEL - 1) / PANEL), dimensionPanels((s.headSize + PANEL - 1) / PANEL),
        // No power of two, which would put all rows into the same sets of a cache.
        stride(static_cast<size_t>(panels) * PANEL + 32) {}
  /** [panel of positions][dimension][PANEL] */
  size_t positions(const AttentionShape& s) const { return static_cast<size_t>(panels) * PANEL * s.headSize; }
  /** [panel of dimensions][position][PANEL] */
  size_t dimensions(int rows) const { return static_cast<size_t>(dimensionPanels) * rows * PANEL; }
  size_t scores() const { return QUERY_ROWS * stride; }
};

static size_t attendScratch(const AttentionShape& s) {
  const AttentionScratch sizes(s);
  return sizes.positions(s) + sizes.dimensions(s.tokens) + QUERY_ROWS * static_cast<size_t>(s.headSize) + sizes.scores() +
         sizes.dimensions(QUERY_ROWS) + QUERY_ROWS;
}

static size_t attendBackScratch(const AttentionShape& s) {
  const AttentionScratch sizes(s);
  return 2 * sizes.positions(s) + sizes.dimensions(s.tokens) + 2 * QUERY_ROWS * static_cast<size_t>(s.headSize) + 2 * sizes.scores() +
         2 * sizes.dimensions(QUERY_ROWS);
}

/** The query rows [first, first + rows) of a window and the positions that they see, from a whole panel on. */
struct QueryRange {
  int first, rows, begin, end;

  QueryRange(const AttentionShape& s, int first_) : first(first_), rows(s.tokens - first_ < QUERY_ROWS ? s.tokens - first_ : QUERY_ROWS) {
    begin = first < s.span ? 0 : (first - s.span + 1) / PANEL * PANEL;
    end = first + rows;
  }
  /** What row r sees. */
  int beginOf(const AttentionShape& s, int r) const { return first + r < s.span ? 0 : first + r - s.span + 1; }
  int endOf(int r) const { return first + r + 1; }
};

/** Rows of one head in a dense block [QUERY_ROWS][headSize] times `scale`, zeros beyond the last. */
static void copyRows(const float* from, size_t stride, int rows, int size, float scale, float* to) {
  for (int r = 0; r < QUERY_ROWS; ++r, to += size)
    for (int d = 0; d < size; d += VW) storeTo(to, d, size, r < rows ? mul(loadTo(from + r * stride, d, size), splat(scale)) : zero());
}

/** Panels of positions, [panel][dimension][PANEL], of one head. */
static void packPositions(const float* from, size_t stride, const AttentionShape& s, float* to) {
  for (int p = 0; p < s.tokens; p += PANEL, to += static_cast<size_t>(PANEL) * s.headSize)
    packRows(from + p * stride, stride, s.headSize, s.tokens - p < PANEL ? s.tokens - p : PANEL, to);
}

/** Panels of dimensions, [panel][position][PANEL], of one head. */
static void packDimensions(const float* from, size_t stride, int rows, int room, int size, float* to) {
  for (int d = 0; d < size; d += PANEL, to += static_cast<size_t>(room) * PANEL)
    packColumns(from + d, stride, rows, size - d < PANEL ? size - d : PANEL, to);
}

/** products[row][position] of a block's rows with the positions of the tiles that a row sees. */
static void multiplyPositions(const QueryRange& range, const float* rows, int size, const float* positions, float* products, size_t stride) {
  for (int p = range.begin / PANEL; p * PANEL < range.end; ++p)
    for (int r = 0; r < range.rows; r += DENSE_ROWS) {
      if (p * PANEL >= range.first + r + DENSE_ROWS) continue;
      const TileTarget to = {products + r * stride + p * PANEL, stride, DENSE_ROWS, PANEL, false};
      multiplyTile<true>(rows + r * size, size, positions + static_cast<size_t>(p) * PANEL * size, size, to);
    }
}

/** What tiles read of a row besides what it sees has no weight. */
static inline void clearUnseen(float* row, int begin, int first, int end, int last) {
  for (int p = begin; p < first; ++p) row[p] = 0;
  for (int p = end; p < last; ++p) row[p] = 0;
}

/** Turns scores into e^(score - largest), in place; gives their sum and the largest. */
static inline void weighRow(float* row, int begin, int end, float& total, float& largest) {
  V top = splat(-__builtin_inff()), sums = zero();
  int p = begin;
  for (; p + VW <= end; p += VW) top = max(top, load(row + p));
  float most = highest(top);
  for (int q = p; q < end; ++q) most = row[q] > most ? row[q] : most;
  const V m = splat(most);
  for (p = begin; p + VW <= end; p += VW) {
    const V e = exponential(sub(load(row + p), m));
    store(row + p, e);
    sums = add(sums, e);
  }
  total = sum(sums);
  if (p < end) {
    alignas(64) float rest[VW];
    store(rest, exponential(sub(loadPart(row + p, end - p), m)));
    for (int i = 0; i < end - p; ++i) total += row[p + i] = rest[i];
  }
  largest = most;
}

static void attend(const AttentionForward& task, int window, int head, float* scratch, int& packed) {
  const AttentionShape& s = task.shape;
  const AttentionScratch sizes(s);
  const int size = s.headSize, kvHead = head / (s.headCount / s.kvHeadCount);
  const size_t queryStride = static_cast<size_t>(s.headCount) * size, kvStride = static_cast<size_t>(s.kvHeadCount) * size;
  const size_t row = static_cast<size_t>(window) * s.tokens;
  float* const keys = scratch;
  float* const values = keys + sizes.positions(s);
  float* const queries = values + sizes.dimensions(s.tokens);
  float* const scores = queries + QUERY_ROWS * static_cast<size_t>(size);
  float* const mixes = scores + sizes.scores();
  float* const factors = mixes + sizes.dimensions(QUERY_ROWS);
  if (packed != window * s.kvHeadCount + kvHead) {
    packPositions(task.key + row * kvStride + kvHead * size, kvStride, s, keys);
    packDimensions(task.value + row * kvStride + kvHead * size, kvStride, s.tokens, s.tokens, size, values);
    packed = window * s.kvHeadCount + kvHead;
  }
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
  for (int first = 0; first < s.tokens; first += QUERY_ROWS) {
    const QueryRange range(s, first);
    const size_t at = (row + first) * queryStride + head * size;
    copyRows(task.query + at, queryStride, range.rows, size, scale, queries);
    multiplyPositions(range, queries, size, keys, scores, sizes.stride);
    for (int r = 0; r < range.rows; ++r) {
      float total, largest;
      weighRow(scores + r * sizes.stride, range.beginOf(s, r), range.endOf(r), total, largest);
      clearUnseen(scores + r * sizes.stride, range.begin, range.beginOf(s, r), range.endOf(r), range.end);
      factors[r] = 1 / total;
      task.logSums[(row + first + r) * s.headCount + head] = static_cast<float>(static_cast<double>(largest) + std::log(static_cast<double>(total)));
    }
    for (int c = 0; c < sizes.dimensionPanels; ++c)
      for (int r = 0; r < range.rows; r += DENSE_ROWS) {
        const int last = first + r + DENSE_ROWS < range.end ? first + r + DENSE_ROWS : range.end;
        const TileTarget to = {mixes + (c * QUERY_ROWS + r) * PANEL, PANEL, DENSE_ROWS, PANEL, false};
        multiplyTile<true>(scores + r * sizes.stride + range.begin, sizes.stride,
                           values + (static_cast<size_t>(c) * s.tokens + range.begin) * PANEL, last - range.begin, to);
      }
    for (int r = 0; r < range.rows; ++r)
      for (int d = 0; d < size; d += VW) {
        const float* const mix = mixes + (d / PANEL * QUERY_ROWS + r) * PANEL + d % PANEL;
        storeTo(task.out + at + r * queryStride, d, size, mul(load(mix), splat(factors[r])));
      }
  }
}

/** Scores become weights e^(score - log sum), products of gradients what scores' gradients are: weight * (product - mean) * scale. */
static inline void weighRowBack(float* weights, float* gradients, int begin, int end, float logSum, float mean, float scale) {
  const V l = splat(logSum), m = splat(mean), s = splat(scale);
  for (int p = begin; p < end; p += VW) {
    // Past the end of a row lies room; what is written there is cleared.
    const V w = exponential(sub(load(weights + p), l));
    store(weights + p, w);
    store(gradients + p, mul(mul(w, sub(load(gradients + p), m)), s));
  }
}

/** Adds, for each position of a block, the sum over rows of weights[row][position] * panels[row] to `out`. */
static void addOverRows(const QueryRange& range, const AttentionScratch& sizes, const float* weights, const float* panels, int size, float* out, size_t outStride) {
  for (int c = 0; c < sizes.dimensionPanels; ++c)
    for (int p = range.begin; p < range.end; p += DENSE_ROWS) {
      const int left = range.end - p, width = size - c * PANEL;
      // Rows before the first that sees a position of the tile have no weights there.
      const int from = p > range.first ? p - range.first : 0;
      const TileTarget to = {out + p * outStride + c * PANEL, outStride, left < DENSE_ROWS ? left : DENSE_ROWS, width < PANEL ? width : PANEL, true};
      multiplyTile<false>(weights + from * sizes.stride + p, sizes.stride, panels + (c * QUERY_ROWS + from) * PANEL, range.rows - from, to);
    }
}

static void attendBack(const AttentionBackward& task, int window, int kvHead, float* scratch) {
  const AttentionShape& s = task.shape;
  const AttentionScratch sizes(s);
  const int size = s.headSize, group = s.headCount / s.kvHeadCount;
  const size_t queryStride = static_cast<size_t>(s.headCount) * size, kvStride = static_cast<size_t>(s.kvHeadCount) * size;
  const size_t row = static_cast<size_t>(window) * s.tokens, kvAt = row * kvStride + kvHead * size;
  float* const keys = scratch;
  float* const values = keys + sizes.positions(s);
  float* const keyPanels = values + sizes.positions(s);
  float* const queries = keyPanels + sizes.dimensions(s.tokens);
  float* const outer = queries + QUERY_ROWS * static_cast<size_t>(size);
  float* const weights = outer + QUERY_ROWS * static_cast<size_t>(size);
  float* const gradients = weights + sizes.scores();
  float* const queryPanels = gradients + sizes.scores();
  float* const outerPanels = queryPanels + sizes.dimensions(QUERY_ROWS);
  packPositions(task.key + kvAt, kvStride, s, keys);
  packPositions(task.value + kvAt, kvStride, s, values);
  packDimensions(task.key + kvAt, kvStride, s.tokens, s.tokens, size, keyPanels);
  for (int t = 0; t < s.tokens; ++t)
    for (int d = 0; d < size; ++d) task.dKey[kvAt + t * kvStride + d] = task.dValue[kvAt + t * kvStride + d] = 0;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
  for (int head = kvHead * group; head < (kvHead + 1) * group; ++head)
    for (int first = 0; first < s.tokens; first += QUERY_ROWS) {
      const QueryRange range(s, first);
      const size_t at = (row + first) * queryStride + head * size;
      copyRows(task.query + at, queryStride, range.rows, size, scale, queries);
      copyRows(task.dOut + at, queryStride, range.rows, size, 1, outer);
      packDimensions(task.query + at, queryStride, range.rows, QUERY_ROWS, size, queryPanels);
      packDimensions(task.dOut + at, queryStride, range.rows, QUERY_ROWS, size, outerPanels);
      multiplyPositions(range, queries, size, keys, weights, sizes.stride);
      multiplyPositions(range, outer, size, values, gradients, sizes.stride);
      for (int r = 0; r < range.rows; ++r) {
        float *const w = weights + r * sizes.stride, *const g = gradients + r * sizes.stride;
        const float* const out = task.out + at + r * queryStride;
        V mean = zero();
        for (int d = 0; d < size; d += VW) mean = fma(loadTo(out, d, size), loadTo(outer + r * size, d, size), mean);
        weighRowBack(w, g, range.beginOf(s, r), range.endOf(r), task.logSums[(row + first + r) * s.headCount + head], sum(mean), scale);
        // Tiles of DENSE_ROWS positions read beyond the block's last.
        clearUnseen(w, range.begin, range.beginOf(s, r), range.endOf(r), range.end + DENSE_ROWS);
        clearUnseen(g, range.begin, range.beginOf(s, r), range.endOf(r), range.end + DENSE_ROWS);
      }
      for (int c = 0; c < sizes.dimensionPanels; ++c)
        for (int r = 0; r < range.rows; r += DENSE_ROWS) {
          const int left = range.rows - r, width = size - c * PANEL;
          const int last = first + r + DENSE_ROWS < range.end ? first + r + DENSE_ROWS : range.end;
          const TileTarget to = {task.dQuery + at + r * queryStride + c * PANEL, queryStride, left < DENSE_ROWS ? left : DENSE_ROWS, width < PANEL ? width : PANEL, false};
          multiplyTile<true>(gradients + r * sizes.stride + range.begin, sizes.stride,
                             keyPanels + (static_cast<size_t>(c) * s.tokens + range.begin) * PANEL, last - range.begin, to);
        }
      addOverRows(range, sizes, gradients, queryPanels, size, task.dKey + kvAt, kvStride);
      addOverRows(range, sizes, weights, outerPanels, size, task.dValue + kvAt, kvStride);
    }
}

}  // namespace duobit::KERNEL_ISA
