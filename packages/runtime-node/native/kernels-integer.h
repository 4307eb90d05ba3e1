// int8 and int4 weights: activations rounded to 16 bits a group, exact integer sums; included by the file of each
// instruction set. docs/numerics.md, "Dense and integer weights", has the bound.
//
// With VNNI x + 32768 is split into two unsigned bytes, u = 256 h + l, and v being the stored code
//   sum v x = 256 sum v h + sum v l - 32768 sum v,
// computed modulo 2^32, in which the result itself fits. Where the instruction wants signed bytes (ARM), h - 128 and l - 128
// stand for h and l, and the last term becomes + 128 sum v. Rows lie in the lanes, so no sum crosses them.
#pragma once
#include "kernels-float.h"

#ifndef KERNEL_SIGNED_BYTES
#define KERNEL_SIGNED_BYTES 0
#endif

namespace duobit::KERNEL_ISA {

static void roundRow(const float* x, int width, int groupSize, uint8_t* codes, size_t codeBytes, float* scales,
                     int32_t* sums) {
  const int groups = (width + groupSize - 1) / groupSize, padded = static_cast<int>(codeBytes / 2);
  uint8_t *high = codes, *low = codes + padded;
  int16_t* shorts = reinterpret_cast<int16_t*>(codes);
  int k = 0;
  for (int g = 0; g < groups; ++g) {
    const int begin = g * groupSize, end = begin + groupSize < width ? begin + groupSize : width;
    V top = zero(), fault = zero();
    for (k = begin; k < end; k += VW) {
      const V v = loadTo(x, k, end);
      top = max(top, abs(v));
      fault = add(fault, sub(v, v));
    }
    const float most = highest(top);
    const bool whole = sum(fault) == 0, usable = whole && most >= SMALLEST;
    // A value that is not finite makes the scale NaN, and with it every output.
    const float scale = !whole ? __builtin_nanf("") : usable ? most / 32767 : 0;
    scales[g] = scale;
    const V divisor = splat(usable ? scale : __builtin_inff());
    int32_t total = 0;
    for (k = begin; k < end; k += VW) {
      alignas(64) int32_t rounded[VW];
      storeIntegers(rounded, toIntegers(div(whole ? loadTo(x, k, end) : zero(), divisor)));
      const int count = end - k < VW ? end - k : VW;
      for (int i = 0; i < count; ++i) {
        total += rounded[i];
        if constexpr (KERNEL_VNNI != 0) {
          const uint32_t u = static_cast<uint32_t>(rounded[i] + 32768) ^ (KERNEL_SIGNED_BYTES ? 0x8080 : 0);
          high[k + i] = static_cast<uint8_t>(u >> 8);
          low[k + i] = static_cast<uint8_t>(u);
        } else {
          shorts[k + i] = static_cast<int16_t>(rounded[i]);
        }
      }
    }
    sums[g] = total;
  }
  // Stored codes past the last column are 0; any value would do.
  for (k = width; k < padded; ++k) {
    if constexpr (KERNEL_VNNI != 0) high[k] = low[k] = 0;
    else shorts[k] = 0;
  }
}

#if KERNEL_VNNI
constexpr int CHUNK = 4;
/** The sums of one group for T rows of activations, without corrections. */
template <int T, bool NIBBLES>
static inline void sumGroup(const uint8_t* w, const uint8_t* const* x, size_t lowAt, int columns, I* out) {
  // One row has but two sums; two of each hide the latency.
  constexpr int U = T == 1 ? 2 : 1;
  I h[U][T], l[U][T];
#pragma GCC unroll 4
  for (int u = 0; u < U; ++u)
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) h[u][t] = l[u][t] = integers(0);
  for (int k = 0; k < columns; k += 8) {
    __builtin_prefetch(w + FETCH_AHEAD);
    B first, second;
    if constexpr (NIBBLES) {
      const B b = loadBytes(w);
      first = lowNibbles(b);
      second = lowNibbles(shiftRight4(b));
      w += 4 * VW;
    } else {
      first = loadBytes(w);
      second = loadBytes(w + 4 * VW);
      w += 8 * VW;
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      h[0][t] = dotBytes(h[0][t], x[t] + k, first);
      l[0][t] = dotBytes(l[0][t], x[t] + lowAt + k, first);
      h[U - 1][t] = dotBytes(h[U - 1][t], x[t] + k + 4, second);
      l[U - 1][t] = dotBytes(l[U - 1][t], x[t] + lowAt + k + 4, second);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    I high = h[0][t], low = l[0][t];
    if constexpr (U > 1) {
      high = addIntegers(high, h[1][t]);
      low = addIntegers(low, l[1][t]);
    }
    out[t] = addIntegers(shiftLeft<8>(high), low);
  }
}
#else
constexpr int CHUNK = 2;
template <int T, bool NIBBLES>
static inline void sumGroup(const uint8_t* w, const uint8_t* const* x, size_t, int columns, I* out) {
  // One row has but one sum; a second hides the latency. Of int4 that takes nibbles that are not shifted down, 16 times their
  // sum, below 128 * 240 * 32767 < 2^30.
  constexpr int U = T == 1 ? 2 : 1;
  I s[U][T];
#pragma GCC unroll 4
  for (int u = 0; u < U; ++u)
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) s[u][t] = integers(0);
  for (int k = 0; k < columns; k += 8) {
    __builtin_prefetch(w + FETCH_AHEAD);
    B v[4];
    if constexpr (NIBBLES) {
      const B first = loadBytes(w), second = shortsRight8(first);
      v[0] = lowPairs(first);
      v[1] = U > 1 ? highPairs(first) : lowPairs(shiftRight4(first));
      v[2] = lowPairs(second);
      v[3] = U > 1 ? highPairs(second) : lowPairs(shiftRight4(second));
      w += 4 * VW;
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) v[i] = loadPairs(w + 2 * i * VW);
      w += 8 * VW;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) s[i % U][t] = dotPairs(s[i % U][t], x[t] + 2 * k + 4 * i, v[i]);
  }
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    out[t] = s[0][t];
    if constexpr (U > 1) out[t] = addIntegers(out[t], NIBBLES ? shiftRight<4>(s[1][t]) : s[1][t]);
  }
}
#endif

template <int T, bool NIBBLES>
static void integerTile(const IntegerMatrix& m, int tile, const RoundedRows& r, int row, float* out,
                        size_t outStride) {
  const uint8_t* w = m.data + tile * m.tileBytes;
  const uint8_t* x[T];
  V y[T];
  for (int t = 0; t < T; ++t) {
    x[t] = r.codes + (row + t) * r.codeStride;
    y[t] = zero();
  }
  for (int g = 0; g < m.groups; ++g) {
    const V scale = loadHalf(reinterpret_cast<const uint16_t*>(w));
#if KERNEL_VNNI
    const I stored = loadShorts(reinterpret_cast<const int16_t*>(w + 2 * VW));
    const I shifted = KERNEL_SIGNED_BYTES ? subIntegers(integers(0), shiftLeft<7>(stored)) : shiftLeft<15>(stored);
#endif
    w += 4 * VW;
    const int rest = m.columns - g * m.groupSize;
    const int columns = rest < m.groupSize ? (rest + 7) / 8 * 8 : m.groupSize;
    I sums[T];
    sumGroup<T, NIBBLES>(w, x, r.codeStride / 2, columns, sums);
    w += static_cast<size_t>(columns) * VW / (NIBBLES ? 2 : 1);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      I total = sums[t];
#if KERNEL_VNNI
      total = subIntegers(total, shifted);
#endif
      const size_t at = (row + t) * r.groupStride + g;
      if constexpr (NIBBLES) total = subIntegers(total, integers(8 * r.sums[at]));
      y[t] = fma(mul(splat(r.scales[at]), scale), toFloats(total), y[t]);
      x[t] += KERNEL_VNNI ? columns : 2 * columns;
    }
  }
  const int left = m.rows - tile * VW;
  for (int t = 0; t < T; ++t) storeTo(out + (row + t) * outStride + tile * VW, 0, left < VW ? left : VW, y[t]);
}

template <bool NIBBLES>
static void integerTiles(const IntegerMatrix& m, const RoundedRows& r, int rows, int first, int end, float* out,
                         size_t outStride) {
  for (int tile = first; tile < end; ++tile) {
    int row = 0;
    for (; row + INTEGER_ROWS <= rows; row += INTEGER_ROWS)
      integerTile<INTEGER_ROWS, NIBBLES>(m, tile, r, row, out, outStride);
    for (; row < rows; ++row) integerTile<1, NIBBLES>(m, tile, r, row, out, outStride);
  }
}

static void integer(const IntegerMatrix& m, const RoundedRows& all, int firstRow, int rows, int first, int end,
                    float* out, size_t outStride) {
  RoundedRows r = all;
  r.codes += firstRow * r.codeStride;
  r.scales += firstRow * r.groupStride;
  r.sums += firstRow * r.groupStride;
  if (m.nibbles) integerTiles<true>(m, r, rows, first, end, out, outStride);
  else integerTiles<false>(m, r, rows, first, end, out, outStride);
}

}  // namespace duobit::KERNEL_ISA
