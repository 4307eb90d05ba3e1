// A row that has at most two quads for each thread of a block: normed and coded in registers, with one exchange between warps before the
// codes. Such a row is all latency: a step that depends on the one before it takes some five cycles, an exchange several hundred.
#pragma once
#include "row.cuh"

/** Of all warps of a block: the sum of squares, and the extremes. */
struct RowFacts {
  float squares, low, high;
};

template <int WARPS>
DEVICE RowFacts joinFacts(bool sums, float squares, const Extremes& e, RowShared& shared) {
  const int least = __reduce_min_sync(FULL, e.least), most = __reduce_max_sync(FULL, e.most), lane = laneOf();
  if (sums) squares = sumWarp(squares);
  if (lane == 0) {
    shared.squares[warpOf()] = squares;
    shared.least[warpOf()] = least;
    shared.most[warpOf()] = most;
  }
  __syncthreads();
  float sum = 0;
  if (sums)
#pragma unroll
    for (int w = 0; w < WARPS; w += 4) {
      const float4 four = *reinterpret_cast<const float4*>(shared.squares + w);
      sum += (four.x + four.y) + (four.z + four.w);
    }
  return {sum, valueOf(__reduce_min_sync(FULL, shared.least[lane & (WARPS - 1)])),
          valueOf(__reduce_max_sync(FULL, shared.most[lane & (WARPS - 1)]))};
}

/**
 * Whether a row can go this way, a warp UNITS of it: it is of whole quads, not gated, not rotated, and nobody asks for more of it than
 * its planes.
 */
template <int WARPS, int UNITS>
DEVICE bool isNarrow(const RowArgs& a) {
  return a.width <= UNITS * WARPS * UNIT && a.width % 4 == 0 && a.span == 0 && a.mode != ROW_GATE && !a.out && !a.codes;
}

/** A thread's quads of a norm's weight, which are there before the row is, and of the row. */
template <int UNITS>
struct NarrowRow {
  float4 weights[UNITS], x[UNITS];
};

/** Where the quad of a thread is in a unit. Lanes past the end have the unit's first, so that all lanes of a warp do the same. */
DEVICE int narrowPlace(const RowArgs& a, int unit) {
  const int k = unit * UNIT + 4 * quadOf(a.layout, laneOf());
  return k < a.width ? k : unit * UNIT;
}

template <int WARPS, int UNITS>
DEVICE NarrowRow<UNITS> beginNarrow(const RowArgs& a) {
  NarrowRow<UNITS> row;
#pragma unroll
  for (int n = 0; n < UNITS; ++n) {
    const int unit = warpOf() + n * WARPS;
    row.weights[n] = make_float4(1, 1, 1, 1);
    if (a.mode == ROW_NORM && unit * UNIT < a.width)
      row.weights[n] = __ldg(reinterpret_cast<const float4*>(a.y + narrowPlace(a, unit)));
  }
  return row;
}

template <int WARPS, int UNITS>
DEVICE void takeNarrow(NarrowRow<UNITS>& row, const RowArgs& a) {
#pragma unroll
  for (int n = 0; n < UNITS; ++n) {
    const int unit = warpOf() + n * WARPS;
    row.x[n] = make_float4(0, 0, 0, 0);
    if (unit * UNIT < a.width) row.x[n] = __ldcg(reinterpret_cast<const float4*>(a.x + narrowPlace(a, unit)));
  }
}

/**
 * Bit planes of the row; gives offset and step. Extremes are those of x times the norm's weight, times the norm's factor: at most four
 * roundings from the extremes of what is coded (docs/numerics.md, "Activations").
 */
template <int WARPS, int UNITS>
DEVICE float2 codeNarrow(const RowArgs& a, const NarrowRow<UNITS>& row, u32* planes, RowShared& shared) {
  const bool norms = a.mode == ROW_NORM;
  Extremes extremes;
  float squares = 0;
#pragma unroll
  for (int n = 0; n < UNITS; ++n) {
    const int unit = warpOf() + n * WARPS;
    if (unit * UNIT >= a.width) continue;
    const float4 v = row.x[n], z = row.weights[n];
    include(extremes, make_float4(v.x * z.x, v.y * z.y, v.z * z.z, v.w * z.w), 0, 4);
    const float four = (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
    squares += unit * UNIT + 4 * quadOf(a.layout, laneOf()) < a.width ? four : 0.0f;
  }
  const RowFacts facts = joinFacts<WARPS>(norms, squares, extremes, shared);
  // What the next kernel fetches first must not be in this one's way.
  beginNext();
  const float scale = norms ? rsqrtf(facts.squares * a.inverseWidth + a.epsilon) : 1.0f;
  const float2 range = rangeBetween(facts.low * scale, facts.high * scale, a);
  const bool exactly = !hasInverse(range.y);
  const float inverse = exactly ? 0.0f : __fdividef(1.0f, range.y);
#pragma unroll
  for (int n = 0; n < UNITS; ++n) {
    const int unit = warpOf() + n * WARPS;
    if (unit * UNIT >= a.width) continue;
    const float4 v = row.x[n], z = row.weights[n];
    const float4 r = make_float4(v.x * scale * z.x, v.y * scale * z.y, v.z * scale * z.z, v.w * scale * z.w);
    const int left = a.width - unit * UNIT - 4 * quadOf(a.layout, laneOf());
    const u32 words = transposeBits(codesOf(r, left, range, inverse, exactly));
    if (laneOf() < UNIT_PLANES) planes[unit * UNIT_PLANES + laneOf()] = words;
  }
  __syncthreads();
  return range;
}
