// W(1+1) times one row of codes on tensor cores that multiply single bits. Sign and bitmap are operands as they lie in memory; a
// row of codes is four bit planes, four of the eight columns of an operand, and two groups of columns of the weight take four each:
// where one has its planes, the other's columns are 0, so that one product gives the sums of both.
#pragma once
#include "row.cuh"
#include "w11.cuh"

template <int G>
struct BitSteps {
  /** Units that a warp takes at once: of 128 columns an operand has two. */
  static constexpr int UNITS = G >= 128 ? 2 : 1;
  /** Pairs of groups within them. */
  static constexpr int PAIRS = G == 32 ? 2 : 1;
};

/** What a lane has of a step. */
template <int G, bool OFFSETS>
struct StepBits {
  uint4 bits[BitSteps<G>::UNITS];
  Levels<OFFSETS> levels[BitSteps<G>::PAIRS][2];
};

/** Where a step lies in shared memory, for a warp: every lane reads what it has copied itself. */
template <int G, bool OFFSETS>
struct StepSlot {
  static constexpr int LEVEL_BYTES = OFFSETS ? 8 : 4;
  static constexpr int LEVELS = BitSteps<G>::UNITS * 512, BYTES = LEVELS + BitSteps<G>::PAIRS * 64 * LEVEL_BYTES;
  char* bytes;

  DEVICE_MEMBER char* bitsAt(int unit) const { return bytes + (unit * 32 + laneOf()) * 16; }
  DEVICE_MEMBER char* levelsAt(int pair, int r) const { return bytes + LEVELS + ((pair * 2 + r) * 32 + laneOf()) * LEVEL_BYTES; }
};

/** Where a lane's first bits and levels of a tile are. */
struct BitTile {
  const uint4* bits;
  const u16* levels;
};

template <int G, bool OFFSETS>
DEVICE BitTile placeTile(const Chosen& c, int units) {
  const int lane = laneOf(), spans = (units + Groups<G>::SPAN - 1) / Groups<G>::SPAN;
  const u64 tile = static_cast<u64>(c.tile) * spans;
  return {c.bits + tile * (Groups<G>::SPAN * 32) + lane,
          c.levels + (tile * (Groups<G>::IN_UNIT * TILE_ROWS) + (lane >> 2)) * (OFFSETS ? 4 : 2)};
}

/** Whether a step has both its units. In groups of 256 a span's second unit is always there, if of zeros. */
template <int G>
DEVICE bool isWhole(int step, int units) {
  return BitSteps<G>::UNITS == 1 || G == 256 || 2 * step + 1 < units;
}

template <int G, bool OFFSETS>
DEVICE void copyStep(const StepSlot<G, OFFSETS>& to, const BitTile& tile, int step, int units) {
  constexpr int UNITS = BitSteps<G>::UNITS, PAIRS = BitSteps<G>::PAIRS, EACH = OFFSETS ? 4 : 2;
  const bool whole = isWhole<G>(step, units);
  copyAsync16(to.bitsAt(0), tile.bits + step * (UNITS * 32));
  if (UNITS == 2 && whole) copyAsync16(to.bitsAt(1), tile.bits + step * 64 + 32);
  const int second = whole ? laneOf() >> 1 & 1 : 0;
#pragma unroll
  for (int q = 0; q < PAIRS; ++q) {
    const u16* const levels = tile.levels + (G == 256 ? step : 2 * (step * PAIRS + q) + second) * (TILE_ROWS * EACH);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (OFFSETS) copyAsync8(to.levelsAt(q, r), levels + 8 * r * EACH);
      else copyAsync4(to.levelsAt(q, r), levels + 8 * r * EACH);
    }
  }
}

template <int G, bool OFFSETS>
DEVICE StepBits<G, OFFSETS> takeStep(const StepSlot<G, OFFSETS>& from, bool whole) {
  StepBits<G, OFFSETS> bits;
#pragma unroll
  for (int u = 0; u < BitSteps<G>::UNITS; ++u)
    bits.bits[u] = u == 0 || whole ? *reinterpret_cast<const uint4*>(from.bitsAt(u)) : make_uint4(0, 0, 0, 0);
#pragma unroll
  for (int q = 0; q < BitSteps<G>::PAIRS; ++q)
#pragma unroll
    for (int r = 0; r < 2; ++r) bits.levels[q][r] = *reinterpret_cast<const Levels<OFFSETS>*>(from.levelsAt(q, r));
  return bits;
}

/** One row's planes in shared memory; units are padded with zeros to whole steps. */
DEVICE int paddedUnits(int width) { return ((width + UNIT - 1) / UNIT + 1) & ~1; }

DEVICE void padPlanes(u32* planes, int width) {
  const int units = (width + UNIT - 1) / UNIT;
  if (units % 2 == 1 && threadIdx.x < UNIT_PLANES) planes[units * UNIT_PLANES + threadIdx.x] = 0;
}

/**
 * Adds to rows g and g + 8 of the tile. A lane has columns 2 t and 2 t + 1, planes 0 and 1 or (odd t) 2 and 3 of a pair's first or
 * (t of 2 and 3) second group; `laneScale` is what the sums then lack. Bits that are all set give the sum of the codes.
 */
template <int G, bool OFFSETS>
DEVICE void multiplyStep(float (&acc)[2], const StepBits<G, OFFSETS>& loaded, const u32* planes, int step) {
  constexpr int UNITS = BitSteps<G>::UNITS, PAIRS = BitSteps<G>::PAIRS;
  const int lane = laneOf(), t = lane & 3, plane = lane >> 2 & 3, half = lane >> 4;
  const uint4 v = loaded.bits[0], w = loaded.bits[UNITS - 1];
  const u32 s[4] = {v.x, v.z, w.x, w.z}, m[4] = {v.y, v.w, w.y, w.w};
  const u32 both[4] = {s[0] & m[0], s[1] & m[1], s[2] & m[2], s[3] & m[3]};
#pragma unroll
  for (int q = 0; q < PAIRS; ++q) {
    int sums[4][4] = {};
    if (UNITS == 2) {
      const u32 b = planes[(2 * step + half) * UNIT_PLANES + 4 * t + plane];
      const u32 b0 = half ? 0 : b, b1 = half ? b : 0;
      multiplyBits(sums[0], s[0], s[1], s[2], s[3], b0, b1);
      multiplyBits(sums[1], m[0], m[1], m[2], m[3], b0, b1);
      multiplyBits(sums[2], both[0], both[1], both[2], both[3], b0, b1);
      multiplyBits(sums[3], FULL, FULL, FULL, FULL, b0, b1);
    } else {
      const u32 b = planes[step * UNIT_PLANES + 4 * t + plane] & partMask(Groups<G>::LAYOUT, 2 * q + half);
      multiplyBits(sums[0], s[0], s[1], b);
      multiplyBits(sums[1], m[0], m[1], b);
      multiplyBits(sums[2], both[0], both[1], b);
      multiplyBits(sums[3], FULL, FULL, b);
    }
    const auto joined = [&](int sum, int r) { return SUM_START + sums[sum][2 * r] + 2 * sums[sum][2 * r + 1]; };
#pragma unroll
    for (int r = 0; r < 2; ++r)
      acc[r] = addGroup(acc[r], factorsOf<OFFSETS>(loaded.levels[q][r]), 0.125f * sumOf(joined(3, r)), joined(0, r),
                        joined(1, r), joined(2, r));
  }
}

/** Factors are of sums times 8, and the lanes of planes 2 and 3 counted them as 0 and 1. */
DEVICE float laneScale() { return laneOf() & 1 ? 32.0f : 8.0f; }
