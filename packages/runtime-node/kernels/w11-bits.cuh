// W(1+1) times one row of codes on tensor cores that multiply single bits, a unit of 128 columns at a time. The four words that a
// lane has of a unit are an operand of 16 x 256 bits as they lie in memory: sign and bitmap of row g are its rows g and g + 8 in the
// first 128 columns, those of row g + 8 in the last. A row of codes is four bit planes: four of the eight columns of the other operand,
// with zeros in the last 128 columns, and again the other way round. So one product gives the sums over sign and bitmap of 16 rows of
// weights; another, of the bits that both have, and of bits that are all set, the other two.
#pragma once
#include "row.cuh"
#include "w11.cuh"

/** What a lane has of a unit of a tile: its words, and levels of the row that its sums are of. */
template <int G, bool OFFSETS>
struct UnitWeights {
  uint4 words;
  Levels<OFFSETS> levels[Groups<G>::IN_UNIT];
};

/** The row of the tile that a lane's sums are of; two lanes have the same, one for planes 0 and 1, one for 2 and 3. */
DEVICE int rowOfLane() { return (laneOf() >> 2) + ((laneOf() & 2) << 2); }

/** Where a lane has its part of a unit in shared memory: it reads what it has copied itself. */
template <int G, bool OFFSETS>
struct UnitSlot {
  static constexpr int LEVEL_BYTES = OFFSETS ? 8 : 4;
  /** Of a warp. */
  static constexpr int BYTES = 512 + 32 * Groups<G>::IN_UNIT * LEVEL_BYTES;
  SharedAt words;

  DEVICE_MEMBER SharedAt levels(int group) const { return words + 512 + 32 * group * LEVEL_BYTES - laneOf() * (16 - LEVEL_BYTES); }
};

/** @param unit where a warp's begins */
DEVICE SharedAt wordsOfLane(const char* unit) { return sharedAt(unit + 16 * laneOf()); }

/** Where a lane's weights of a tile's first unit are. */
struct LaneTile {
  const uint4* words;
  const u16* levels;
};

template <int G, bool OFFSETS>
DEVICE LaneTile placeTile(const Chosen& c, int units) {
  constexpr int SPAN = Groups<G>::SPAN;
  const u64 spans = static_cast<u64>(c.tile) * ((units + SPAN - 1) / SPAN);
  return {c.bits + spans * (SPAN * 32) + laneOf(),
          c.levels + (spans * (Groups<G>::IN_UNIT * TILE_ROWS) + rowOfLane()) * (OFFSETS ? 4 : 2)};
}

template <int G, bool OFFSETS>
DEVICE void copyUnit(const UnitSlot<G, OFFSETS>& to, const LaneTile& tile, int unit) {
  constexpr int IN_UNIT = Groups<G>::IN_UNIT, EACH = TILE_ROWS * (OFFSETS ? 4 : 2);
  copyAsync16(to.words, tile.words + unit * 32);
  const u16* const levels = tile.levels + unit / Groups<G>::SPAN * (IN_UNIT * EACH);
#pragma unroll
  for (int h = 0; h < IN_UNIT; ++h) {
    if (OFFSETS) copyAsync8(to.levels(h), levels + h * EACH);
    else copyAsync4(to.levels(h), levels + h * EACH);
  }
}

template <int G, bool OFFSETS>
DEVICE UnitWeights<G, OFFSETS> takeUnit(const UnitSlot<G, OFFSETS>& from) {
  UnitWeights<G, OFFSETS> w;
  loadShared(w.words, from.words);
#pragma unroll
  for (int h = 0; h < Groups<G>::IN_UNIT; ++h) loadShared(w.levels[h].raw, from.levels(h));
  return w;
}

/** The word of a unit's planes that a lane gives to a product: [t][plane]. */
DEVICE int planeOfLane() { return 4 * (laneOf() & 3) + (laneOf() >> 2 & 3); }

/** Adds to the sum of `rowOfLane`, of the lane's two planes; `laneScale` is what it then lacks. */
template <int G, bool OFFSETS>
DEVICE float multiplyUnit(float acc, const UnitWeights<G, OFFSETS>& weights, u32 plane) {
  const uint4 w = weights.words;
  const bool isLast = laneOf() >> 4;
#pragma unroll
  for (int h = 0; h < Groups<G>::IN_UNIT; ++h) {
    const u32 b = Groups<G>::IN_UNIT == 1 ? plane : plane & partMask(Groups<G>::LAYOUT, h);
    const u32 b0 = isLast ? 0 : b, b1 = isLast ? b : 0;
    int one[4] = {}, two[4] = {};
    multiplyBits(one, w.x, w.y, w.z, w.w, b0, b1);
    multiplyBits(two, w.x & w.y, FULL, w.z & w.w, FULL, b0, b1);
    float alpha[2], mu[2];
    unpackLevels<OFFSETS>(weights.levels[h], alpha, mu);
    // As in `factorsOf`, of sums that are not times 8.
    const float c0 = mu[0] - alpha[0], difference = alpha[1] - alpha[0];
    acc = fmaf(c0, static_cast<float>(two[2] + 2 * two[3]), acc);
    acc = fmaf(alpha[0] + alpha[0], static_cast<float>(one[0] + 2 * one[1]), acc);
    acc = fmaf((mu[1] - alpha[1]) - c0, static_cast<float>(one[2] + 2 * one[3]), acc);
    acc = fmaf(difference + difference, static_cast<float>(two[0] + 2 * two[1]), acc);
  }
  return acc;
}

/** The lanes of planes 2 and 3 counted them as 0 and 1. */
DEVICE float laneScale() { return laneOf() & 1 ? 4.0f : 1.0f; }
