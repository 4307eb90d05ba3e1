// A row that has at most two quads for each thread of a block, in whole quads, not gated, not rotated, and of which nobody asks for more than
// its planes: normed and coded in registers, with one exchange between warps before the codes. Such a row is all latency: a step that
// depends on the one before it takes some five cycles, an exchange several hundred.
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

/** A thread's quads of a norm's weight, which are there before the row is, and of the row. */
template <int UNITS>
struct NarrowRow {
  float4 weights[UNITS], x[UNITS];
  /** The column of its first quad. */
  int column;
};

/** What of a unit's quads a lane loads: past the end the unit's first, so that all lanes of a warp do the same. */
template <int WARPS>
DEVICE int narrowPlace(const RowArgs& a, int column, int n) {
  const int k = column + n * WARPS * UNIT;
  return k < a.width ? k : (warpOf() + n * WARPS) * UNIT;
}

/** Whether a warp has an n-th unit. */
template <int WARPS>
DEVICE bool hasUnit(const RowArgs& a, int n) { return (warpOf() + n * WARPS) * UNIT < a.width; }

template <int LAYOUT, int WARPS, int UNITS>
DEVICE NarrowRow<UNITS> beginNarrow(const RowArgs& a) {
  NarrowRow<UNITS> row;
  row.column = forgotten(warpOf() * UNIT + 4 * quadOf(LAYOUT, laneOf()));
#pragma unroll
  for (int n = 0; n < UNITS; ++n) {
    const uint4* const from = reinterpret_cast<const uint4*>(a.y + narrowPlace<WARPS>(a, row.column, n));
    const bool norms = a.mode == ROW_NORM;
    const float4 weights = floatsOf(loadWhere(norms && hasUnit<WARPS>(a, n), from));
    row.weights[n] = norms ? weights : make_float4(1, 1, 1, 1);
  }
  return row;
}

/** The first that is done behind the wait, and without a branch: all the rest can go on meanwhile. */
template <int WARPS, int UNITS>
DEVICE void takeNarrow(NarrowRow<UNITS>& row, const RowArgs& a) {
#pragma unroll
  for (int n = 0; n < UNITS; ++n)
    row.x[n] = floatsOf(loadWhere(hasUnit<WARPS>(a, n), reinterpret_cast<const uint4*>(a.x + narrowPlace<WARPS>(a, row.column, n))));
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
    if (!hasUnit<WARPS>(a, n)) continue;
    const float4 v = row.x[n], z = row.weights[n];
    include(extremes, make_float4(v.x * z.x, v.y * z.y, v.z * z.z, v.w * z.w), 0, 4);
    const float four = (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
    squares += row.column + n * WARPS * UNIT < a.width ? four : 0.0f;
  }
  const RowFacts facts = joinFacts<WARPS>(norms, squares, extremes, shared);
  // What the next kernel fetches first must not be in this one's way.
  beginNext();
  const float scale = norms ? rsqrtf(facts.squares * a.inverseWidth + a.epsilon) : 1.0f;
  const float2 range = rangeBetween(facts.low * scale, facts.high * scale, a);
  const bool exactly = !hasInverse(range.y);
  const float inverse = exactly ? 0.0f : __fdividef(1.0f, range.y);
  float4 quads[UNITS];
  int left[UNITS];
#pragma unroll
  for (int n = 0; n < UNITS; ++n) {
    const float4 v = row.x[n], z = row.weights[n];
    quads[n] = make_float4(v.x * scale * z.x, v.y * scale * z.y, v.z * scale * z.z, v.w * scale * z.w);
    left[n] = a.width - (row.column + n * WARPS * UNIT);
  }
  // A warp that has nothing of the row is done; one that has less than the most makes codes of zeros besides.
  if (hasUnit<WARPS>(a, 0)) {
    const u32 words = transposeBits(codesOf(quads, left, range, inverse, exactly));
    const int unit = warpOf() + laneOf() / UNIT_PLANES * WARPS;
    if (laneOf() < UNITS * UNIT_PLANES && unit * UNIT < a.width) planes[unit * UNIT_PLANES + laneOf() % UNIT_PLANES] = words;
  }
  __syncthreads();
  return range;
}
