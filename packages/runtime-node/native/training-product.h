// Products of f32 matrices, written once for vectors of VW values; included by the file of each instruction set.
//
// A tile of DENSE_ROWS x PANEL sums stays in registers while up to PRODUCT_DEPTH steps of the inner size pass (Goto & van de
// Geijn 2008). The right operand is packed into panels once, by all threads. Of the left one rows are read where they lie; when it is
// transposed a block is packed, since there the values of a tile are one row apart from step to step, which in matrices whose
// width is a power of two puts them all into the same sets of a cache.
#pragma once
#include "kernels-vector.h"
#include "training.h"

/** Inner loops in functions of their own: inlined into one, they push each other's sums out of the registers. */
#define APART __attribute__((noinline))

namespace duobit::KERNEL_ISA {

static_assert(PRODUCT_ROWS % DENSE_ROWS == 0 && QUERY_ROWS % DENSE_ROWS == 0, "blocks are whole tiles");

/** Where a tile goes: its first `height` rows and `width` columns; with `more` it is added to what is there. */
struct TileTarget {
  float* out;
  size_t stride;
  int height, width;
  bool more;
};

static APART void storeTileEdge(const V (&tile)[DENSE_ROWS][2], const TileTarget& to) {
  for (int m = 0; m < to.height; ++m)
    for (int h = 0; h < 2 && h * VW < to.width; ++h) {
      float* const out = to.out + m * to.stride;
      const V v = tile[m][h];
      storeTo(out, h * VW, to.width, to.more ? add(loadTo(out, h * VW, to.width), v) : v);
    }
}

/**
 * A tile of sums over `count` steps of a times b [step][PANEL]. With ROWS, a is [DENSE_ROWS rows `stride` apart][step], else
 * [steps `stride` apart][DENSE_ROWS].
 */
template <bool ROWS>
static APART void multiplyTile(const float* a, size_t stride, const float* b, int count, const TileTarget& to) {
  for (int m = 0; m < to.height; ++m) {
    __builtin_prefetch(to.out + m * to.stride, 1);
    __builtin_prefetch(to.out + m * to.stride + PANEL - 1, 1);
  }
  V tile[DENSE_ROWS][2];
#pragma GCC unroll 16
  for (int m = 0; m < DENSE_ROWS; ++m) tile[m][0] = tile[m][1] = zero();
  for (int k = 0; k < count; ++k, a += ROWS ? 1 : stride, b += PANEL) {
    const V b0 = load(b), b1 = load(b + VW);
#pragma GCC unroll 16
    for (int m = 0; m < DENSE_ROWS; ++m) {
      const V v = splat(a[ROWS ? m * stride : m]);
      tile[m][0] = fma(v, b0, tile[m][0]);
      tile[m][1] = fma(v, b1, tile[m][1]);
    }
  }
  if (to.height < DENSE_ROWS || to.width < PANEL) return storeTileEdge(tile, to);
  float* out = to.out;
  const size_t outStride = to.stride;
  if (to.more) {
#pragma GCC unroll 16
    for (int m = 0; m < DENSE_ROWS; ++m, out += outStride) {
      store(out, add(load(out), tile[m][0]));
      store(out + VW, add(load(out + VW), tile[m][1]));
    }
    return;
  }
#pragma GCC unroll 16
  for (int m = 0; m < DENSE_ROWS; ++m, out += outStride) {
    store(out, tile[m][0]);
    store(out + VW, tile[m][1]);
  }
}

/** panel [step][PANEL] of the `valid` columns of `count` rows, `stride` apart; zeros beyond. */
static void packColumns(const float* from, size_t stride, int count, int valid, float* panel) {
  if (valid == PANEL)
    for (int k = 0; k < count; ++k, from += stride, panel += PANEL) {
      store(panel, load(from));
      store(panel + VW, load(from + VW));
    }
  else
    for (int k = 0; k < count; ++k, from += stride, panel += PANEL) {
      store(panel, loadTo(from, 0, valid));
      store(panel + VW, valid > VW ? loadTo(from, VW, valid) : zero());
    }
}

/** panel [step][PANEL] whose columns are the `valid` rows, `stride` apart, of `count` values each; zeros beyond. */
static void packRows(const float* from, size_t stride, int count, int valid, float* panel) {
  // A few steps at a time, so that the lines of the panel that are written stay near.
  constexpr int STEPS = 16;
  for (int k = 0; k < count; k += STEPS) {
    const int steps = count - k < STEPS ? count - k : STEPS;
    float* const to = panel + static_cast<size_t>(k) * PANEL;
    for (int j = 0; j < valid; ++j) {
      const float* const row = from + j * stride + k;
      for (int i = 0; i < steps; ++i) to[i * PANEL + j] = row[i];
    }
    for (int j = valid; j < PANEL; ++j)
      for (int i = 0; i < steps; ++i) to[i * PANEL + j] = 0;
  }
}

static void packPanel(const ProductTask& task, int panel) {
  const int column = task.first + panel * PANEL, left = task.first + task.columns - column, valid = left < PANEL ? left : PANEL;
  const size_t step = task.firstStep;
  float* const to = task.panels + static_cast<size_t>(panel) * task.steps * PANEL;
  if (task.bTransposed) packRows(task.b + static_cast<size_t>(column) * task.k + step, task.k, task.steps, valid, to);
  else packColumns(task.b + step * task.n + column, task.n, task.steps, valid, to);
}

/** Strips of DENSE_ROWS, [strip][step][DENSE_ROWS], of `rows` columns of `count` rows, `stride` apart; zeros beyond. */
static void packStrips(const float* from, size_t stride, int count, int rows, float* strips) {
  const int whole = rows / DENSE_ROWS;
  for (int k = 0; k < count; ++k, from += stride) {
    float* to = strips + k * DENSE_ROWS;
    for (int s = 0; s < whole; ++s, to += static_cast<size_t>(count) * DENSE_ROWS)
      __builtin_memcpy(to, from + s * DENSE_ROWS, sizeof(float) * DENSE_ROWS);
    for (int i = 0; whole * DENSE_ROWS < rows && i < DENSE_ROWS; ++i)
      to[i] = whole * DENSE_ROWS + i < rows ? from[whole * DENSE_ROWS + i] : 0;
  }
}

/** One strip of rows that lie apart, the last of them repeated. */
static void packLastRows(const float* from, size_t stride, int count, int rows, float* strip) {
  for (int i = 0; i < DENSE_ROWS; ++i)
    for (int k = 0; k < count; ++k) strip[k * DENSE_ROWS + i] = from[(i < rows ? i : rows - 1) * stride + k];
}

static void multiply(const ProductTask& task, int begin, int end, int firstPanel, int endPanel, float* scratch) {
  const int rows = end - begin, whole = rows / DENSE_ROWS * DENSE_ROWS;
  const int depth = productDepth(task.k), last = task.firstStep + task.steps;
  const size_t stride = task.aTransposed ? task.m : task.k;
  for (int k = task.firstStep; k < last; k += depth) {
    const int count = last - k < depth ? last - k : depth;
    const float* const a = task.aTransposed ? task.a + static_cast<size_t>(k) * stride + begin : task.a + begin * stride + k;
    if (task.aTransposed) packStrips(a, stride, count, rows, scratch);
    else if (whole < rows) packLastRows(a + whole * stride, stride, count, rows - whole, scratch);
    for (int panel = firstPanel; panel < endPanel; ++panel) {
      const int column = task.first + panel * PANEL, left = task.first + task.columns - column;
      const float* const b = task.panels + (static_cast<size_t>(panel) * task.steps + (k - task.firstStep)) * PANEL;
      TileTarget to = {task.out + static_cast<size_t>(begin) * task.n + column, static_cast<size_t>(task.n), DENSE_ROWS,
                       left < PANEL ? left : PANEL, k > 0};
      for (int row = 0; row < rows; row += DENSE_ROWS, to.out += DENSE_ROWS * to.stride) {
        to.height = rows - row < DENSE_ROWS ? rows - row : DENSE_ROWS;
        if (task.aTransposed) multiplyTile<false>(scratch + static_cast<size_t>(row) * count, DENSE_ROWS, b, count, to);
        else if (row < whole) multiplyTile<true>(a + row * stride, stride, b, count, to);
        else multiplyTile<false>(scratch, DENSE_ROWS, b, count, to);
      }
    }
  }
}

}  // namespace duobit::KERNEL_ISA
