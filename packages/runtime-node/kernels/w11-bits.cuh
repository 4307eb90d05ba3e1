// W(1+1) times one row of codes on tensor cores that multiply single bits. Sign and bitmap are operands as they lie in memory; a
// row of codes is four bit planes, four of the eight columns of an operand, and two groups of columns of the weight take four each:
// where one has its planes, the other's columns are 0, so that one product gives the sums of both.
#pragma once
#include "w11-load.cuh"

/** Words of a unit's four planes: [t][plane], bit 8 b + j of word t for byte b of the word (t, j) of codes. */
#define UNIT_PLANES 16

template <int G>
struct BitSteps {
  /** Units that a warp takes at once: of 128 columns an operand has two. */
  static constexpr int UNITS = G >= 128 ? 2 : 1;
  /** Pairs of groups within them. */
  static constexpr int PAIRS = G == 32 ? 2 : 1;
};

/** One row's planes and sums in shared memory; units are padded with zeros to whole steps. */
struct PlaneRow {
  const u32* planes;
  const float* sums;
  int units;
};

/** What a warp has loaded of a step. */
template <int G, bool OFFSETS>
struct LoadedBits {
  uint4 bits[BitSteps<G>::UNITS];
  Levels<OFFSETS> levels[BitSteps<G>::PAIRS][2];
};

/** Bits of the words j of part h of a unit. */
template <int WORDS>
DEVICE u32 partMask(int h) {
  return (WORDS == 8 ? 0xffu : (1u << WORDS) - 1u) * 0x01010101u << (h * WORDS);
}

/** The lane (t, j) has four codes, a byte each. Gives plane 2 (j & 1) + (j >> 1 & 1) of word t. */
DEVICE u32 planeOf(u32 codes, int j) {
  u32 plane[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) plane[i] = (codes >> i & 0x01010101u) << j;
  // Each exchange halves what a lane still puts together.
  const bool odd = j & 1, second = j & 2;
  u32 low = odd ? plane[2] : plane[0], high = odd ? plane[3] : plane[1];
  low |= __shfl_xor_sync(FULL, odd ? plane[0] : plane[2], 1);
  high |= __shfl_xor_sync(FULL, odd ? plane[1] : plane[3], 1);
  u32 mine = second ? high : low;
  mine |= __shfl_xor_sync(FULL, second ? low : high, 2);
  return mine | __shfl_xor_sync(FULL, mine, 4);
}

/** Writes what `planeOf` gives where it belongs; a warp has a unit. */
DEVICE void putPlane(u32* planes, int unit, u32 plane) {
  const int t = laneOf() >> 3, j = laneOf() & 7;
  if (j < 4) planes[unit * UNIT_PLANES + 4 * t + 2 * (j & 1) + (j >> 1)] = plane;
}

/** Zeros behind the last unit where steps have two. */
DEVICE void padPlanes(u32* planes, float* sums, int units) {
  if (units % 2 == 0) return;
  if (threadIdx.x < UNIT_PLANES) planes[units * UNIT_PLANES + threadIdx.x] = 0;
  if (threadIdx.x < 4) sums[units * 4 + threadIdx.x] = 0;
}

/** Where a lane's first bits and levels of a tile are. */
struct BitTile {
  const uint4* bits;
  const u16* levels;
};

template <int G, bool OFFSETS>
DEVICE BitTile placeTile(const LoadedBits<G, OFFSETS>*, const Chosen& c, int units) {
  const int lane = laneOf(), spans = (units + Groups<G>::SPAN - 1) / Groups<G>::SPAN;
  const u64 tile = static_cast<u64>(c.tile) * spans;
  return {c.bits + tile * (Groups<G>::SPAN * 32) + lane,
          c.levels + (tile * (Groups<G>::IN_UNIT * TILE_ROWS) + (lane >> 2)) * (OFFSETS ? 4 : 2)};
}

template <int G, bool OFFSETS>
DEVICE void loadStep(LoadedBits<G, OFFSETS>& to, const BitTile& tile, int step, int units) {
  constexpr int UNITS = BitSteps<G>::UNITS, PAIRS = BitSteps<G>::PAIRS, EACH = OFFSETS ? 4 : 2;
  if (step * UNITS >= units) return;
  // In groups of 256 a span's second unit is always there, if of zeros.
  const bool isWhole = UNITS == 1 || G == 256 || 2 * step + 1 < units;
  to.bits[0] = loadStream(tile.bits + step * (UNITS * 32));
  if (UNITS == 2) to.bits[UNITS - 1] = isWhole ? loadStream(tile.bits + step * 64 + 32) : make_uint4(0, 0, 0, 0);
  const int second = isWhole ? laneOf() >> 1 & 1 : 0;
#pragma unroll
  for (int q = 0; q < PAIRS; ++q) {
    const int group = G == 256 ? step : 2 * (step * PAIRS + q) + second;
#pragma unroll
    for (int r = 0; r < 2; ++r) to.levels[q][r] = loadLevels<OFFSETS>(tile.levels + group * (TILE_ROWS * EACH), 8 * r);
  }
}

/**
 * acc: rows g and g + 8 of the tile. A lane has columns 2 t and 2 t + 1, planes 0 and 1 or (odd t) 2 and 3 of a pair's first or
 * (t of 2 and 3) second group; `scaleOf` is what acc then lacks.
 */
template <int G, bool OFFSETS>
DEVICE void multiplyStep(float (&acc)[2], const LoadedBits<G, OFFSETS>& loaded, const PlaneRow& row, int step) {
  constexpr int UNITS = BitSteps<G>::UNITS, PAIRS = BitSteps<G>::PAIRS, WORDS = Groups<G>::WORDS;
  const int lane = laneOf(), t = lane & 3, plane = lane >> 2 & 3, half = lane >> 4;
  if (step * UNITS >= row.units) return;
  const uint4 v = loaded.bits[0], w = loaded.bits[UNITS - 1];
  const u32 s[4] = {v.x, v.z, w.x, w.z}, m[4] = {v.y, v.w, w.y, w.w};
  const u32 both[4] = {s[0] & m[0], s[1] & m[1], s[2] & m[2], s[3] & m[3]};
#pragma unroll
  for (int q = 0; q < PAIRS; ++q) {
    int sums[3][4] = {};
    if (UNITS == 2) {
      const u32 b = row.planes[(2 * step + half) * UNIT_PLANES + 4 * t + plane];
      const u32 b0 = half ? 0 : b, b1 = half ? b : 0;
      multiplyBits(sums[0], s[0], s[1], s[2], s[3], b0, b1);
      multiplyBits(sums[1], m[0], m[1], m[2], m[3], b0, b1);
      multiplyBits(sums[2], both[0], both[1], both[2], both[3], b0, b1);
    } else {
      const u32 b = row.planes[step * UNIT_PLANES + 4 * t + plane] & partMask<WORDS>(2 * q + half);
      multiplyBits(sums[0], s[0], s[1], b);
      multiplyBits(sums[1], m[0], m[1], b);
      multiplyBits(sums[2], both[0], both[1], b);
    }
    // Plain sums are whole; of each pair of lanes the first adds them.
    const int at = UNITS == 2 ? 4 * (2 * step + (t >> 1)) : 4 * step + 2 * q + (t >> 1);
    const float plain = (t & 1 ? 0.0f : 0.125f) * row.sums[at];
#pragma unroll
    for (int r = 0; r < 2; ++r)
      acc[r] = addGroup(acc[r], factorsOf<OFFSETS>(loaded.levels[q][r]), plain,
                        SUM_START + sums[0][2 * r] + 2 * sums[0][2 * r + 1],
                        SUM_START + sums[1][2 * r] + 2 * sums[1][2 * r + 1],
                        SUM_START + sums[2][2 * r] + 2 * sums[2][2 * r + 1]);
  }
}

/** Units of a step. */
template <int G>
DEVICE int unitsOf(const PlaneRow&) {
  return BitSteps<G>::UNITS;
}

/** Factors are of sums times 8, and the lanes of planes 2 and 3 counted them as 0 and 1. */
DEVICE float scaleOf(const PlaneRow&) { return laneOf() & 1 ? 32.0f : 8.0f; }
