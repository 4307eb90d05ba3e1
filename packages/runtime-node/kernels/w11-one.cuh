// W(1+1) times one row of codes. Tensor cores multiply eight rows of bytes at the least, so with one it may be faster to let dp4a
// do all or some of the three sums, or to multiply bits (w11-bits.cuh); which is measured (the ladder).
#pragma once
#include "w11-bits.cuh"

/** What makes the sums over s, m and both: dp4a; tensor cores the first two; tensor cores all. */
enum OneForm { ONE_DP4A, ONE_MIXED, ONE_MMA };

/** Where the row's codes are, shared or device memory, and how they are multiplied. */
template <OneForm FORM>
struct OneRow {
  const uint4* words;
  const float* sums;
  int units;
};

template <int G, bool OFFSETS>
DEVICE Chosen placeTile(const Loaded<G, OFFSETS, 1>*, const Chosen& c, int) {
  return c;
}

template <int G, bool OFFSETS>
DEVICE void loadStep(Loaded<G, OFFSETS, 1>& to, const Chosen& c, int span, int units) {
  loadSpans(to, c, span, 1, (units + Groups<G>::SPAN - 1) / Groups<G>::SPAN);
}

/** acc: rows g and g + 8 of the tile, to be added up over the lanes t. */
template <int G, bool OFFSETS, OneForm FORM>
DEVICE void multiplyStep(float (&acc)[2], const Loaded<G, OFFSETS, 1>& loaded, const OneRow<FORM>& row, int span) {
  constexpr int SPAN = Groups<G>::SPAN, IN_UNIT = Groups<G>::IN_UNIT, WORDS = Groups<G>::WORDS;
  const int t = laneOf() & 3, spans = (row.units + SPAN - 1) / SPAN;
  if (span >= spans) return;
  int dots[3][2], tiles[3][4];
  float plain = 0;
#pragma unroll
  for (int u = 0; u < SPAN; ++u) {
    const int unit = span * SPAN + u;
    if (SPAN > 1 && unit >= row.units) break;
    const uint4* const words = row.words + unit * 8 + t;
    const uint4 low = words[0], high = words[4], w = loaded.bits[0][u];
    const u32 b[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    const u32 s[2] = {w.x, w.z}, m[2] = {w.y, w.w};
#pragma unroll
    for (int h = 0; h < IN_UNIT; ++h) {
      if (u == 0) {
#pragma unroll
        for (int p = 0; p < 3; ++p) dots[p][0] = dots[p][1] = SUM_START;
      }
#pragma unroll
      for (int j = h * WORDS; j < (h + 1) * WORDS; j += 2) {
        // Two words of each row are what a step on tensor cores takes.
        u32 ms[4], mm[4];
#pragma unroll
        for (int k = 0; k < 2; ++k)
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            ms[2 * k + r] = maskWord(s[r], j + k);
            mm[2 * k + r] = maskWord(m[r], j + k);
            if (FORM == ONE_DP4A) {
              dots[0][r] = dotBytes(ms[2 * k + r], b[j + k], dots[0][r]);
              dots[1][r] = dotBytes(mm[2 * k + r], b[j + k], dots[1][r]);
            }
            if (FORM != ONE_MMA) dots[2][r] = dotBytes(ms[2 * k + r] & mm[2 * k + r], b[j + k], dots[2][r]);
          }
        if (FORM == ONE_DP4A) continue;
        const bool starts = j == h * WORDS && u == 0;
#pragma unroll
        for (int p = 0; p < (FORM == ONE_MMA ? 3 : 2); ++p) {
          u32 a[4];
#pragma unroll
          for (int k = 0; k < 4; ++k) a[k] = p == 0 ? ms[k] : p == 1 ? mm[k] : ms[k] & mm[k];
          if (starts) multiplyTilesFrom(SUM_START, tiles[p], a[0], a[1], a[2], a[3], b[j], b[j + 1]);
          else multiplyTiles(tiles[p], a[0], a[1], a[2], a[3], b[j], b[j + 1]);
        }
      }
      plain += row.sums[unit * 4 + h];
      if (u + 1 < SPAN && unit + 1 < row.units) continue;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const Factors f = factorsOf<OFFSETS>(loaded.levels[0][h][r]);
        // Sums on tensor cores are of all lanes t, and the first has those of the first row.
        if (FORM == ONE_DP4A) {
          acc[r] = fmaf(f.c1, sumOf(dots[0][r]), acc[r]);
          acc[r] = fmaf(f.c2, sumOf(dots[1][r]), acc[r]);
        } else if (t == 0) {
          acc[r] = fmaf(f.c1, sumOf(tiles[0][2 * r]), acc[r]);
          acc[r] = fmaf(f.c2, sumOf(tiles[1][2 * r]), acc[r]);
          if (FORM == ONE_MMA) acc[r] = fmaf(f.c3, sumOf(tiles[2][2 * r]), acc[r]);
        }
        if (FORM != ONE_MMA) acc[r] = fmaf(f.c3, sumOf(dots[2][r]), acc[r]);
        if (t == 0) acc[r] = fmaf(f.c0, plain, acc[r]);
      }
      plain = 0;
    }
  }
}

template <int G, OneForm FORM>
DEVICE int unitsOf(const OneRow<FORM>&) {
  return Groups<G>::SPAN;
}
template <OneForm FORM>
DEVICE float scaleOf(const OneRow<FORM>&) {
  return 1;
}

/**
 * The n-th tile of a block, or none (-1). With a gate each tile of it is followed by the tile of what it gates, so that one
 * block has both.
 */
DEVICE int tileOf(const W11Args& a, int n) {
  if (!a.gated) {
    const int tile = blockIdx.x + n * gridDim.x;
    return tile < a.tileEnd[MOST_WEIGHTS - 1] ? tile : -1;
  }
  const int pair = blockIdx.x + (n >> 1) * gridDim.x;
  return pair >= a.tileEnd[0] ? -1 : n & 1 ? a.tileEnd[0] + pair : pair;
}

/** What a block's warps load first. */
template <typename Slot, int AHEAD>
DEVICE void loadFirst(Slot (&ahead)[AHEAD], const W11Args& a, int units) {
  const auto tile = placeTile(ahead, choose(a, blockIdx.x), units);
#pragma unroll
  for (int i = 0; i < AHEAD; ++i) loadStep(ahead[i], tile, warpOf() + i * SPLIT_WARPS, units);
}

/**
 * The warps' sums of a tile, then its rows: each of eight warps has every eighth step. `ahead` holds the steps that come next, of
 * the first tile at first; one that has been used takes what comes after the others.
 */
template <int G, typename Slot, int AHEAD, typename Row>
DEVICE void multiplyOneTiles(const W11Args& a, Slot (&ahead)[AHEAD], const Row& row, float2 params, float* partial) {
  constexpr int STRIDE = SPLIT_WARPS * AHEAD;
  const int each = unitsOf<G>(row), steps = (row.units + each - 1) / each, lane = laneOf(), warp = warpOf();
  float gate = 0;
  for (int n = 0, tile = tileOf(a, 0); tile >= 0; ++n) {
    const int nextTile = tileOf(a, n + 1);
    const Chosen c = choose(a, tile);
    const auto here = placeTile(ahead, c, row.units);
    const auto next = placeTile(ahead, choose(a, nextTile < 0 ? tile : nextTile), row.units);
    const int column = c.tile * TILE_ROWS + threadIdx.x;
    const bool finishes = threadIdx.x < TILE_ROWS && column < c.rows;
    // On their way while the tile is multiplied.
    const float rowSum = finishes ? __ldg(c.rowSums + column) : 0.0f;
    const float before = finishes && c.sum ? c.sum[column] : 0.0f;
    float acc[2] = {0, 0};
    for (int base = 0; base < steps; base += STRIDE) {
      const bool isLast = base + STRIDE >= steps;
#pragma unroll
      for (int i = 0; i < AHEAD; ++i) {
        const int step = warp + i * SPLIT_WARPS;
        multiplyStep(acc, ahead[i], row, base + step);
        if (!isLast || nextTile >= 0)
          loadStep(ahead[i], isLast ? next : here, isLast ? step : base + STRIDE + step, row.units);
      }
    }
    // Two sets of sums: one is filled while the other may still be read.
    float* const sums = partial + (n & 1) * SPLIT_WARPS * TILE_ROWS;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      acc[r] *= scaleOf(row);
      acc[r] += __shfl_xor_sync(FULL, acc[r], 1);
      acc[r] += __shfl_xor_sync(FULL, acc[r], 2);
      if ((lane & 3) == 0) sums[warp * TILE_ROWS + (lane >> 2) + 8 * r] = acc[r];
    }
    __syncthreads();
    if (finishes) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < SPLIT_WARPS; ++w) sum += sums[w * TILE_ROWS + threadIdx.x];
      const float y = params.y * sum + params.x * rowSum;
      c.out[column] = y;
      if (c.sum) c.sum[column] = before + y;
      if (a.gated && (n & 1) == 1) a.gated[column] = gated(gate, y);
      gate = y;
    }
    tile = nextTile;
  }
}
