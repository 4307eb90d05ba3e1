// Sums of products of columns, X^T Y, with f32 products summed over blocks of rows and doubles beyond that; included by the
// file of each instruction set.
//
// A tile of DENSE_ROWS x PANEL sums stays in registers while a block of rows passes. Columns are copied together first:
// where they lie, their distance is a row, which puts them all into a few sets of the first-level cache.
#pragma once
#include "kernels-float.h"

namespace duobit::KERNEL_ISA {

static_assert(GRAM_STRIP % DENSE_ROWS == 0, "a strip is whole tiles");

/** Adds a tile of sums over `count` rows, a[row][DENSE_ROWS] times b[row][PANEL], to its part of the matrix. */
static void addGramTile(const float* a, const float* b, int count, double* sums, size_t stride, int height, int width) {
  for (int m = 0; m < height; ++m) {
    __builtin_prefetch(sums + m * stride, 1);
    __builtin_prefetch(sums + m * stride + PANEL / 2, 1);
  }
  V tile[DENSE_ROWS][2];
#pragma GCC unroll 16
  for (int m = 0; m < DENSE_ROWS; ++m) tile[m][0] = tile[m][1] = zero();
  for (int t = 0; t < count; ++t, a += DENSE_ROWS, b += PANEL) {
    const V b0 = load(b), b1 = load(b + VW);
#pragma GCC unroll 16
    for (int m = 0; m < DENSE_ROWS; ++m) {
      const V v = splat(a[m]);
      tile[m][0] = fma(v, b0, tile[m][0]);
      tile[m][1] = fma(v, b1, tile[m][1]);
    }
  }
  float values[DENSE_ROWS][PANEL];
#pragma GCC unroll 16
  for (int m = 0; m < DENSE_ROWS; ++m) {
    store(values[m], tile[m][0]);
    store(values[m] + VW, tile[m][1]);
  }
  for (int m = 0; m < height; ++m, sums += stride) {
    if (width == PANEL)
      for (int j = 0; j < PANEL; ++j) sums[j] += static_cast<double>(values[m][j]);
    else
      for (int j = 0; j < width; ++j) sums[j] += static_cast<double>(values[m][j]);
  }
}

/** One strip of the matrix and one block of rows. */
static void addGramStrip(const GramTask& task, int row, int strip) {
  const int size = task.width, top = strip * GRAM_STRIP, count = task.rows - row < GRAM_ROWS ? task.rows - row : GRAM_ROWS;
  const int height = size - top < GRAM_STRIP ? size - top : GRAM_STRIP;
  const float *x = task.x + row * task.xStride + top, *y = task.y + row * task.yStride;
  float* const left = task.scratch;
  float* const right = left + GRAM_STRIP * GRAM_ROWS;
  float* to = left;
  for (int i = 0; i < height; i += DENSE_ROWS)
    for (int t = 0; t < count; ++t)
      for (int m = 0; m < DENSE_ROWS; ++m) *to++ = i + m < height ? x[t * task.xStride + i + m] : 0;
  const bool symmetric = task.x == task.y;
  for (int column = symmetric ? top / PANEL * PANEL : 0; column < size; column += PANEL) {
    const int width = size - column < PANEL ? size - column : PANEL;
    for (int t = 0; t < count; ++t) {
      const float* from = y + t * task.yStride + column;
      store(right + t * PANEL, loadTo(from, 0, width));
      store(right + t * PANEL + VW, width > VW ? loadTo(from, VW, width) : zero());
    }
    for (int i = 0; i < height; i += DENSE_ROWS) {
      // Of a symmetric matrix only tiles that reach the diagonal or lie right of it.
      if (symmetric && column + width <= top + i) break;
      addGramTile(left + i * count, right, count, task.sums + static_cast<size_t>(top + i) * size + column, size,
                  height - i < DENSE_ROWS ? height - i : DENSE_ROWS, width);
    }
  }
}

static void gram(const GramTask& task, int first, int end) {
  for (int row = 0; row < task.rows; row += GRAM_ROWS)
    for (int strip = first; strip < end; ++strip) addGramStrip(task, row, strip);
}

}  // namespace duobit::KERNEL_ISA
