// What the W(1+1) products share: their arguments, levels, and the end of a block's work. docs/numerics.md has the sums.
#pragma once
#include "layout.cuh"

#define MOST_WEIGHTS 4

/** Up to four weights that read the same codes, one launch; they share width, group size and offsets. */
struct W11Args {
  const uint4* bits[MOST_WEIGHTS];
  const u16* levels[MOST_WEIGHTS];
  const float* rowSums[MOST_WEIGHTS];
  float* out[MOST_WEIGHTS];
  /** Where results are added to besides; null: nowhere. */
  float* sum[MOST_WEIGHTS];
  /** Codes, or (of one row) their bit planes, or (unquantized activations) the f32 rows. */
  const u32* codes;
  const float* sums;
  const float* params;
  /** Of a gate and what it gates, two weights and one row: gate / (1 + exp(-gate)) * up goes here besides; or null. */
  float* gated;
  /** Output columns of each weight, and the first tile behind its own. */
  int rows[MOST_WEIGHTS];
  int tileEnd[MOST_WEIGHTS];
  int strideOut[MOST_WEIGHTS];
  int strideSum[MOST_WEIGHTS];
  int tokens;
  int width;
  int strideX;
  /** Of one row: 2^shift warps share a tile's columns. */
  int shift;
};

/** One weight out of the arguments. */
struct Chosen {
  const uint4* bits;
  const u16* levels;
  const float* rowSums;
  float* out;
  float* sum;
  int rows, tile, strideOut, strideSum;
};

DEVICE Chosen choose(const W11Args& a, int tile) {
  int i = 0;
#pragma unroll
  for (int other = 0; other + 1 < MOST_WEIGHTS; ++other) i += tile >= a.tileEnd[other] ? 1 : 0;
  return {a.bits[i],  a.levels[i],    a.rowSums[i], a.out[i], a.sum[i], a.rows[i], i == 0 ? tile : tile - a.tileEnd[i - 1],
          a.strideOut[i], a.strideSum[i]};
}

/** Geometry of a group size, in units of 128 columns. */
template <int G>
struct Groups {
  /** Units whose sums are one group's. */
  static constexpr int SPAN = G == 256 ? 2 : 1;
  static constexpr int IN_UNIT = G < UNIT ? UNIT / G : 1;
  static constexpr int LAYOUT = G >= 128 ? LAYOUT_UNIT : G == 64 ? LAYOUT_HALF : LAYOUT_QUARTER;
  /** Words j of a group in a unit. */
  static constexpr int WORDS = 8 / IN_UNIT;
};

/** Levels of one row and group as they are stored. */
template <bool OFFSETS>
struct Levels;
template <>
struct Levels<true> {
  uint2 raw;
};
template <>
struct Levels<false> {
  u32 raw;
};

template <bool OFFSETS>
DEVICE Levels<OFFSETS> loadLevels(const u16* levels, u64 at) {
  Levels<OFFSETS> l;
  if constexpr (OFFSETS) l.raw = __ldg(reinterpret_cast<const uint2*>(levels) + at);
  else l.raw = __ldg(reinterpret_cast<const u32*>(levels) + at);
  return l;
}

template <bool OFFSETS>
DEVICE void unpackLevels(const Levels<OFFSETS>& l, float (&alpha)[2], float (&mu)[2]) {
  u32 pair;
  if constexpr (OFFSETS) {
    pair = l.raw.x;
    mu[0] = halfToFloat(static_cast<u16>(l.raw.y));
    mu[1] = halfToFloat(static_cast<u16>(l.raw.y >> 16));
  } else {
    pair = l.raw;
    mu[0] = mu[1] = 0;
  }
  alpha[0] = halfToFloat(static_cast<u16>(pair));
  alpha[1] = halfToFloat(static_cast<u16>(pair >> 16));
}

/** Factors of the plain sum and of the sums over s, m and both; the latter are given times 8. */
struct Factors {
  float c0, c1, c2, c3;
};

template <bool OFFSETS>
DEVICE Factors factorsOf(const Levels<OFFSETS>& l) {
  float alpha[2], mu[2];
  unpackLevels<OFFSETS>(l, alpha, mu);
  const float c0 = mu[0] - alpha[0];
  return {c0, 0.25f * alpha[0], 0.125f * ((mu[1] - alpha[1]) - c0), 0.25f * (alpha[1] - alpha[0])};
}

/** Integer sums start here, so that as bits of an f32 they are 3 * 2^22 plus the sum: a difference gives it, exactly. */
#define SUM_START 0x4b400000
DEVICE float sumOf(int accumulated) { return __int_as_float(accumulated) - 12582912.0f; }

DEVICE float addGroup(float y, const Factors& f, float plain, int s, int m, int both) {
  y = fmaf(f.c0, plain, y);
  y = fmaf(f.c1, sumOf(s), y);
  y = fmaf(f.c2, sumOf(m), y);
  return fmaf(f.c3, sumOf(both), y);
}

/** The bytes of word j: bit j, 8 + j, 16 + j, 24 + j of x, each in its byte at place j & 3. */
DEVICE u32 maskWord(u32 x, int j) { return (j < 4 ? x : x >> 4) & (0x01010101u << (j & 3)); }

/** y = step * sum + lo * R for one output, written and added where it belongs. */
DEVICE void finish(const Chosen& c, const W11Args& a, const float* params, int token, int row, float sum) {
  if (token >= a.tokens || row >= c.rows) return;
  const float y = params[2 * token + 1] * sum + params[2 * token] * __ldg(c.rowSums + row);
  c.out[static_cast<u64>(token) * c.strideOut + row] = y;
  if (c.sum) c.sum[static_cast<u64>(token) * c.strideSum + row] += y;
}

/** Adds up the sums of WARPS warps of a block, [warp][token][row of the tile], and finishes. */
template <int WARPS, int TOKENS>
DEVICE void finishSplit(const Chosen& c, const W11Args& a, const float* params, int firstToken, const float* partial) {
  for (int i = threadIdx.x; i < TOKENS * TILE_ROWS; i += WARPS * 32) {
    float sum = partial[i];
#pragma unroll
    for (int w = 1; w < WARPS; ++w) sum += partial[w * TOKENS * TILE_ROWS + i];
    finish(c, a, params, firstToken + i / TILE_ROWS, c.tile * TILE_ROWS + i % TILE_ROWS, sum);
  }
}
