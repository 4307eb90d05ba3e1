// Loading W(1+1) weights into registers, some spans of units ahead of their use.
#pragma once
#include "w11.cuh"

/** Warps that share a tile. */
#define SPLIT_WARPS 8

/** What a warp has loaded of one tile: COUNT spans of bits and levels. */
template <int G, bool OFFSETS, int COUNT>
struct Loaded {
  uint4 bits[COUNT][Groups<G>::SPAN];
  Levels<OFFSETS> levels[COUNT][Groups<G>::IN_UNIT][2];
};

template <int G, bool OFFSETS, int COUNT>
DEVICE void loadSpans(Loaded<G, OFFSETS, COUNT>& to, const Chosen& c, int first, int stride, int spans) {
  constexpr int SPAN = Groups<G>::SPAN, IN_UNIT = Groups<G>::IN_UNIT, EACH = OFFSETS ? 4 : 2;
  // The tile's own in 64 bits once; within it 32 bits do.
  const u64 tile = static_cast<u64>(c.tile) * spans;
  const uint4* const bits = c.bits + tile * (SPAN * 32) + laneOf();
  const u16* const levels = c.levels + (tile * (IN_UNIT * TILE_ROWS) + (laneOf() >> 2)) * EACH;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    const int span = first + i * stride;
    if (span >= spans) return;
#pragma unroll
    for (int u = 0; u < SPAN; ++u) to.bits[i][u] = loadStream(bits + span * (SPAN * 32) + u * 32);
#pragma unroll
    for (int h = 0; h < IN_UNIT; ++h)
#pragma unroll
      for (int r = 0; r < 2; ++r)
        to.levels[i][h][r] = loadLevels<OFFSETS>(levels + span * (IN_UNIT * TILE_ROWS * EACH), h * TILE_ROWS + 8 * r);
  }
}
