// W(1+1): the exact lookup product with 4-bit codes, and the product with f32; included by the file of each instruction set.
//
// 4 columns of a row are one index into the sums of subsets of 4 codes; a byte shuffle looks TILE rows up at once, for the
// sign bits, the bitmap bits and sign AND bitmap. A byte holds the sum of 4 look-ups (4 * 60 < 256), a 16-bit lane a whole
// group (256 * 15). All sums are exact; an f16 level times such a sum is exact in f32, and only sums over groups round.
//
// For 4 TILE weights: 1 load, 4 operations that part the nibbles (shared by CODED_ROWS rows of activations), then for each
// row of activations 1 load, 3 shuffles, 3 additions and 9 / 4 operations that widen.
#pragma once
#include "kernels-float.h"

namespace duobit::KERNEL_ISA {

/** y[half …] += the four levels times their coefficients, for 2 VW rows. */
static inline void addLevels(V* y, const uint16_t* levels, bool offsets, B all, B s, B m, B p) {
  // With S, Ss, Sm, Sp the sums over all, s, m, s AND m, the coefficients of mu0, alpha0, mu1, alpha1 are
  // S - Sm,  2 (Ss - Sp) - (S - Sm),  Sm,  2 Sp - Sm; all below 2^13 in magnitude.
  const B a = subShorts(all, m), d = subShorts(addShorts(p, p), m), e = subShorts(s, p);
  const B c = subShorts(addShorts(e, e), a);
  if (offsets) {
    y[0] = fma(loadHalf(levels), lowShorts(a), y[0]);
    y[1] = fma(loadHalf(levels + VW), highShorts(a), y[1]);
    y[0] = fma(loadHalf(levels + 2 * TILE), lowShorts(m), y[0]);
    y[1] = fma(loadHalf(levels + 2 * TILE + VW), highShorts(m), y[1]);
    levels += TILE;
  }
  const uint16_t* second = levels + (offsets ? 2 * TILE : TILE);
  y[0] = fma(loadHalf(levels), lowShorts(c), y[0]);
  y[1] = fma(loadHalf(levels + VW), highShorts(c), y[1]);
  y[0] = fma(loadHalf(second), lowShorts(d), y[0]);
  y[1] = fma(loadHalf(second + VW), highShorts(d), y[1]);
}

/** Where a vector of a tile has the byte of a row: the halves of the tile take turns. */
static int byteOfRow(int row) {
  return row < TILE / 2 ? 2 * shortLane(row) : 2 * shortLane(row - TILE / 2) + 1;
}

/** Asks for the weights that come after those of 4 columns of a tile at `w`. */
static inline void fetchAhead(const uint8_t* w) {
  for (int line = 0; line < 4 * TILE; line += 64) {
#ifdef KERNEL_TWO_FETCHES
    // One prefetch, at any distance, leaves loads of whole lines waiting for memory (Zen 4, experiments/kernels/native-decode).
    __builtin_prefetch(w + 3 * FETCH_AHEAD + line, 0, 2);
    __builtin_prefetch(w + FETCH_AHEAD / 2 + line);
#else
    __builtin_prefetch(w + FETCH_AHEAD + line);
#endif
  }
}

/** One tile by T rows of codes, from row `row` on. */
template <int T>
static void multiplyTile(const W11Matrix& m, const uint8_t* w, const CodedRows& x, int row, float* const* out) {
  const float* rowSums = reinterpret_cast<const float*>(w);
  w += sizeof(float) * TILE;
  V y[T][4];
  const uint8_t* tables[T];
  const int16_t* sums[T];
  for (int t = 0; t < T; ++t) {
    for (int i = 0; i < 4; ++i) y[t][i] = zero();
    tables[t] = x.tables + (row + t) * x.tableStride;
    sums[t] = x.sums + (row + t) * x.sumStride;
  }
  const size_t levelBytes = (m.offsets ? 4 : 2) * TILE * 2;
  for (int g = 0; g < m.groups; ++g) {
    const uint16_t* levels = reinterpret_cast<const uint16_t*>(w);
    w += levelBytes;
    const int units = g + 1 == m.groups ? m.lastUnits : m.unitsPerGroup;
    B ls[T], lm[T], lp[T], hs[T], hm[T], hp[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) ls[t] = lm[t] = lp[t] = hs[t] = hm[t] = hp[t] = zeroBytes();
    for (int u = 0; u < units; ++u) {
      fetchAhead(w);
      B us[T], um[T], up[T];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const B b = loadBytes(w + i * TILE), e = shiftRight4(b);
        const B s = lowNibbles(b), n = lowNibbles(e), p = bothNibbles(b, e);
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) {
          const B table = loadTable(tables[t] + u * 64 + i * 16);
          const B vs = look(table, s), vm = look(table, n), vp = look(table, p);
          us[t] = i == 0 ? vs : keep(addBytes(us[t], vs));
          um[t] = i == 0 ? vm : keep(addBytes(um[t], vm));
          up[t] = i == 0 ? vp : keep(addBytes(up[t], vp));
        }
      }
      // Per 16-bit lane: l… adds whole lanes (mod 2^16), h… their high bytes; the low bytes' sum is l - (h << 8).
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        ls[t] = addShorts(ls[t], us[t]);
        lm[t] = addShorts(lm[t], um[t]);
        lp[t] = addShorts(lp[t], up[t]);
        hs[t] = addShorts(hs[t], shortsRight8(us[t]));
        hm[t] = addShorts(hm[t], shortsRight8(um[t]));
        hp[t] = addShorts(hp[t], shortsRight8(up[t]));
      }
      w += 4 * TILE;
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      int total = 0;
      for (int i = 0; i < (units + 1) / 2; ++i) total += sums[t][i];
      const B all = splatShorts(total);
      addLevels(y[t], levels, m.offsets, all, subShorts(ls[t], shortsLeft8(hs[t])),
                subShorts(lm[t], shortsLeft8(hm[t])), subShorts(lp[t], shortsLeft8(hp[t])));
      addLevels(y[t] + 2, levels + 2 * VW, m.offsets, all, hs[t], hm[t], hp[t]);
      tables[t] += units * 64;
      sums[t] += (units + 1) / 2;
    }
  }
  for (int t = 0; t < T; ++t) {
    const V lo = splat(x.params[2 * (row + t)]), step = splat(x.params[2 * (row + t) + 1]);
    for (int i = 0; i < 4; ++i) {
      const V sum = SHORT_SCALE == 1 ? y[t][i] : mul(y[t][i], splat(1 / SHORT_SCALE));
      store(out[t] + i * VW, fma(step, sum, mul(lo, load(rowSums + i * VW))));
    }
  }
}

template <int T>
static inline void multiplyTileRows(const W11Matrix& m, int tile, const CodedRows& x, int row, float* out,
                                    size_t outStride, float* spill) {
  const int left = m.rows - tile * TILE, valid = left < TILE ? left : TILE;
  float* targets[T];
  for (int t = 0; t < T; ++t)
    targets[t] = valid == TILE ? out + (row + t) * outStride + tile * TILE : spill + t * TILE;
  multiplyTile<T>(m, m.data + tile * m.tileBytes, x, row, targets);
  if (valid < TILE)
    for (int t = 0; t < T; ++t)
      __builtin_memcpy(out + (row + t) * outStride + tile * TILE, targets[t], sizeof(float) * valid);
}

static void w11Coded(const W11Matrix& m, const CodedRows& x, int rows, int first, int end, float* out,
                     size_t outStride, float* spill) {
  for (int tile = first; tile < end; ++tile) {
    int row = 0;
    if constexpr (CODED_ROWS > 1)
      for (; row + CODED_ROWS <= rows; row += CODED_ROWS)
        multiplyTileRows<CODED_ROWS>(m, tile, x, row, out, outStride, spill);
    if constexpr (CODED_ROWS > 2)
      for (; row + 2 <= rows; row += 2) multiplyTileRows<2>(m, tile, x, row, out, outStride, spill);
    for (; row < rows; ++row) multiplyTileRows<1>(m, tile, x, row, out, outStride, spill);
  }
}

/** The weights of VW rows in one column: bit BIT of a lane is the sign, bit BIT + 4 the bitmap. */
template <int BIT>
static inline V pickLevel(I bits, const V* levels) {
  const V low = pick<BIT>(bits, levels[0], levels[1]), high = pick<BIT>(bits, levels[2], levels[3]);
  return pick<BIT + 4>(bits, low, high);
}

/** One group of a tile to two panels of f32 for `columns` columns, rounded up to 4. */
static void decodeGroup(const uint16_t* halves, bool offsets, const uint8_t* w, int columns, float* const (&panels)[2]) {
  for (int i = 0; i < 4; ++i) {
    // Level l: bit 0 of l the sign, bit 1 the bitmap.
    V levels[4];
    for (int pair = 0; pair < 2; ++pair) {
      const V middle = offsets ? loadHalf(halves + 2 * pair * TILE + i * VW) : zero();
      const V alpha = loadHalf(halves + (offsets ? 2 * pair + 1 : pair) * TILE + i * VW);
      levels[2 * pair] = sub(middle, alpha);
      levels[2 * pair + 1] = add(middle, alpha);
    }
    float* to = panels[i / 2] + i % 2 * VW;
    for (int k = 0; k < columns; k += 4, to += 4 * PANEL) {
      const B bytes = loadBytes(w + k / 4 * TILE);
      // A lane of 32 bits has the byte of a row of the first half, and above it one of the second.
      const I bits = i % 2 == 0 ? lowLanes(bytes) : highLanes(bytes);
      store(to, i < 2 ? pickLevel<0>(bits, levels) : pickLevel<8>(bits, levels));
      store(to + PANEL, i < 2 ? pickLevel<1>(bits, levels) : pickLevel<9>(bits, levels));
      store(to + 2 * PANEL, i < 2 ? pickLevel<2>(bits, levels) : pickLevel<10>(bits, levels));
      store(to + 3 * PANEL, i < 2 ? pickLevel<3>(bits, levels) : pickLevel<11>(bits, levels));
    }
  }
}

/** Decodes a group at a time into panels of f32; nothing larger than that is ever expanded. */
static void w11Float(const W11Matrix& m, const float* x, size_t xStride, int rows, int first, int end, float* out,
                     size_t outStride, float* spill) {
  float* const panels[2] = {spill, spill + static_cast<size_t>(m.groupSize) * PANEL};
  for (int tile = first; tile < end; ++tile) {
    const uint8_t* w = m.data + tile * m.tileBytes + sizeof(float) * TILE;
    const int left = m.rows - tile * TILE;
    for (int g = 0; g < m.groups; ++g) {
      const uint16_t* halves = reinterpret_cast<const uint16_t*>(w);
      w += (m.offsets ? 4 : 2) * TILE * 2;
      const int units = g + 1 == m.groups ? m.lastUnits : m.unitsPerGroup;
      const int begin = g * m.groupSize, rest = m.columns - begin, count = rest < m.groupSize ? rest : m.groupSize;
      decodeGroup(halves, m.offsets, w, count, panels);
      w += static_cast<size_t>(units) * 4 * TILE;
      for (int half = 0; half < 2 && left > half * PANEL; ++half)
        multiplyRows(panels[half], count, x + begin, xStride, rows, out + tile * TILE + half * PANEL, outStride,
                     left - half * PANEL < PANEL ? left - half * PANEL : PANEL, g > 0);
    }
  }
}

}  // namespace duobit::KERNEL_ISA
