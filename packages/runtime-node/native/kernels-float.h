// Kernels in f32, written once for vectors of VW values; included by the file of each instruction set.
#pragma once
#include "kernels-vector.h"

namespace duobit::KERNEL_ISA {

constexpr int TILE = 4 * VW;
/** Bytes that quantized weights are fetched ahead; from main memory this is worth a fifth and more. */
constexpr int FETCH_AHEAD = 4096;
/** Where numbers are rounded to 16 bits: below this a group counts as zero, as its step would leave the normal f32 range. */
constexpr float SMALLEST = 7.7e-34f;

static void rmsNorm(const float* x, const float* weight, float* out, int width, float epsilon) {
  V a = zero(), b = zero();
  int k = 0;
  for (; k + 2 * VW <= width; k += 2 * VW) {
    const V u = load(x + k), v = load(x + k + VW);
    a = fma(u, u, a);
    b = fma(v, v, b);
  }
  for (; k < width; k += VW) {
    const V u = loadTo(x, k, width);
    a = fma(u, u, a);
  }
  const float scale = 1.0f / __builtin_sqrtf(sum(add(a, b)) / static_cast<float>(width) + epsilon);
  const V s = splat(scale);
  for (k = 0; k < width; k += VW) storeTo(out, k, width, mul(mul(loadTo(x, k, width), s), loadTo(weight, k, width)));
}

/** `angles`: headSize / 2 cosines, then as many sines. */
static void rope(float* target, const float* angles, int headCount, int headSize) {
  const int half = headSize / 2;
  for (int head = 0; head < headCount; ++head) {
    float *x = target + head * headSize, *y = x + half;
    for (int i = 0; i < half; i += VW) {
      const V a = loadTo(x, i, half), b = loadTo(y, i, half);
      const V c = loadTo(angles, i, half), s = loadTo(angles + half, i, half);
      storeTo(x, i, half, sub(mul(a, c), mul(b, s)));
      storeTo(y, i, half, add(mul(b, c), mul(a, s)));
    }
  }
}

static void siluMul(const float* gate, const float* up, float* out, int width) {
  for (int k = 0; k < width; k += VW) {
    const V g = loadTo(gate, k, width);
    const V s = div(g, add(splat(1), exponential(sub(zero(), g))));
    storeTo(out, k, width, mul(s, loadTo(up, k, width)));
  }
}

static int largest(const float* x, int count) {
  constexpr int CHUNK_VALUES = 512;
  int at = 0;
  float top = -__builtin_inff();
  for (int first = 0; first < count; first += CHUNK_VALUES) {
    const int end = count - first < CHUNK_VALUES ? count : first + CHUNK_VALUES;
    V most = splat(top), fault = zero();
    int k = first;
    for (; k + VW <= end; k += VW) {
      const V v = load(x + k);
      most = max(most, v);
      fault = add(fault, sub(v, v));
    }
    float found = highest(most), broken = sum(fault);
    for (; k < end; ++k) {
      found = x[k] > found ? x[k] : found;
      broken += x[k] - x[k];
    }
    for (int i = first; !(broken == 0) && i < end; ++i)
      if (x[i] != x[i]) return i;
    if (found > top) top = found, at = first;
  }
  while (at < count - 1 && x[at] != top) ++at;
  return at;
}

static void addTo(const float* input, float* out, int width) {
  for (int k = 0; k < width; k += VW) storeTo(out, k, width, add(loadTo(out, k, width), loadTo(input, k, width)));
}

/** M rows times one panel of 2 VW outputs; with `more`, added to what is there. */
template <int M>
static inline void multiplyPanel(const float* w, int count, const float* x, size_t xStride, float* out,
                                 size_t outStride, int valid, bool more) {
  // A single row has few sums; several of each hide the latency of an addition.
  constexpr int U = M == 1 ? 4 : M == 2 ? 2 : 1;
  V a[U][M][2];
#pragma GCC unroll 16
  for (int u = 0; u < U; ++u)
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) a[u][m][0] = a[u][m][1] = zero();
  int k = 0;
  for (; k + U <= count; k += U) {
#pragma GCC unroll 16
    for (int u = 0; u < U; ++u) {
      const V w0 = load(w + (k + u) * PANEL), w1 = load(w + (k + u) * PANEL + VW);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const V v = splat(x[m * xStride + k + u]);
        a[u][m][0] = fma(v, w0, a[u][m][0]);
        a[u][m][1] = fma(v, w1, a[u][m][1]);
      }
    }
  }
  for (; k < count; ++k) {
    const V w0 = load(w + k * PANEL), w1 = load(w + k * PANEL + VW);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const V v = splat(x[m * xStride + k]);
      a[0][m][0] = fma(v, w0, a[0][m][0]);
      a[0][m][1] = fma(v, w1, a[0][m][1]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    float* y = out + m * outStride;
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      V total = a[0][m][h];
#pragma GCC unroll 4
      for (int u = 1; u < U; ++u) total = add(total, a[u][m][h]);
      if (valid <= h * VW) continue;
      if (more) total = add(total, loadTo(y, h * VW, valid));
      storeTo(y, h * VW, valid, total);
    }
  }
}

template <int M>
static inline void multiplyRest(int rows, const float* w, int count, const float* x, size_t xStride, float* out,
                                size_t outStride, int valid, bool more) {
  if constexpr (M > 0) {
    if (rows == M) multiplyPanel<M>(w, count, x, xStride, out, outStride, valid, more);
    else multiplyRest<M - 1>(rows, w, count, x, xStride, out, outStride, valid, more);
  }
}

static void multiplyRows(const float* w, int count, const float* x, size_t xStride, int rows, float* out,
                         size_t outStride, int valid, bool more) {
  int row = 0;
  for (; row + DENSE_ROWS <= rows; row += DENSE_ROWS)
    multiplyPanel<DENSE_ROWS>(w, count, x + row * xStride, xStride, out + row * outStride, outStride, valid, more);
  multiplyRest<DENSE_ROWS - 1>(rows - row, w, count, x + row * xStride, xStride, out + row * outStride, outStride,
                               valid, more);
}

static void dense(const DenseMatrix& m, const float* x, size_t xStride, int rows, int first, int end, float* out,
                  size_t outStride) {
  // A block of a panel stays in the second-level cache while all rows pass; one row needs no blocks.
  const int block = rows == 1 ? m.columns : 512;
  for (int panel = first; panel < end; ++panel) {
    const float* w = m.data + static_cast<size_t>(panel) * m.columns * PANEL;
    const int left = m.rows - panel * PANEL, valid = left < PANEL ? left : PANEL;
    for (int k = 0; k < m.columns; k += block) {
      const int count = m.columns - k < block ? m.columns - k : block;
      multiplyRows(w + static_cast<size_t>(k) * PANEL, count, x + k, xStride, rows, out + panel * PANEL, outStride,
                   valid, k > 0);
    }
  }
}

/** Dynamic 4-bit codes, docs/numerics.md "Activations": every step one f32 operation in the given order. */
static void quantizeRow(const float* x, int width, float clipLow, float clipHigh, uint8_t* tables, int16_t* sums,
                        float* params) {
  V low = splat(__builtin_inff()), high = splat(-__builtin_inff()), fault = zero();
  int k = 0;
  for (; k + VW <= width; k += VW) {
    const V v = load(x + k);
    low = min(low, v);
    high = max(high, v);
    fault = add(fault, sub(v, v));
  }
  float mn = lowest(low), mx = highest(high), bad = sum(fault);
  for (; k < width; ++k) {
    mn = x[k] < mn ? x[k] : mn;
    mx = x[k] > mx ? x[k] : mx;
    bad += x[k] - x[k];
  }
  float lo = clipLow * mn;
  const float hi = clipHigh * mx, range = hi - lo;
  float step = range > 0 ? range / 15 : 0;
  if (!(bad == 0) || !(__builtin_fabsf(range) < __builtin_inff())) lo = step = __builtin_nanf("");
  params[0] = lo;
  params[1] = step;
  const int units = (width + 15) / 16;
  if (!(step > 0)) {
    __builtin_memset(tables, 0, static_cast<size_t>(units) * 64);
    __builtin_memset(sums, 0, static_cast<size_t>(units + 1) / 2 * 2);
    return;
  }
  const V lo_ = splat(lo), step_ = splat(step);
  for (int unit = 0; unit < units; ++unit) {
    const float* from = x + unit * 16;
    float last[16];
    if (width - unit * 16 < 16) {
      // Filled up with what has the code 0.
      for (int i = 0; i < 16; ++i) last[i] = unit * 16 + i < width ? from[i] : lo;
      from = last;
    }
    I parts[16 / VW];
#pragma GCC unroll 4
    for (int i = 0; i < 16 / VW; ++i) {
      // Limiting before rounding gives the same, as 0 and 15 are whole.
      parts[i] = toIntegers(min(max(div(sub(load(from + i * VW), lo_), step_), zero()), splat(15)));
    }
    const C codes = packCodes(parts);
    storeTables(tables + unit * 64, codes);
    const int total = sumCodes(codes);
    if (unit % 2 == 0) sums[unit / 2] = static_cast<int16_t>(total);
    else sums[unit / 2] = static_cast<int16_t>(sums[unit / 2] + total);
  }
}

}  // namespace duobit::KERNEL_ISA
