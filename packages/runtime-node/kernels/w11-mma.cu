// W(1+1)A4 on int8 tensor cores: 16 rows of weights times 8 rows of codes in one instruction, three of them (over s, m and
// both) for 32 columns. Few rows of codes: the warps of a block share a tile's columns. Many: each warp has a tile.
#include "w11.cuh"

/** Everything of a unit that a lane holds as operand A: [step][plane] for rows g and g + 8, two words each. */
struct UnitBits {
  u32 s[2], m[2];
};

DEVICE void multiplyStep(int (&sums)[3][4], const UnitBits& w, int step, u32 b0, u32 b1) {
  u32 s[4], m[4];
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      s[2 * h + r] = maskWord(w.s[r], 2 * step + h);
      m[2 * h + r] = maskWord(w.m[r], 2 * step + h);
    }
  multiplyTiles(sums[0], s[0], s[1], s[2], s[3], b0, b1);
  multiplyTiles(sums[1], m[0], m[1], m[2], m[3], b0, b1);
  multiplyTiles(sums[2], s[0] & m[0], s[1] & m[1], s[2] & m[2], s[3] & m[3], b0, b1);
}

DEVICE void startSums(int (&sums)[3][4]) {
#pragma unroll
  for (int p = 0; p < 3; ++p)
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[p][i] = SUM_START;
}

/** AHEAD: spans whose loads are issued before the first is used. */
template <int G, bool OFFSETS, int NT, int WARPS, bool SPLIT, int AHEAD>
DEVICE void multiplyMma(const W11Args& a) {
  typedef Groups<G> Shape;
  constexpr int SPAN = Shape::SPAN, IN_UNIT = Shape::IN_UNIT;
  const int lane = laneOf(), g = lane >> 2, t = lane & 3, warp = warpOf();
  const int tile = SPLIT ? blockIdx.x : blockIdx.x * WARPS + warp;
  if (!SPLIT && tile >= a.tileEnd[MOST_WEIGHTS - 1]) return;
  const Chosen c = choose(a, tile);
  const int units = (a.width + UNIT - 1) / UNIT, spans = (units + SPAN - 1) / SPAN, groups = spans * IN_UNIT;
  const int firstToken = blockIdx.y * 8 * NT;
  const uint4* const bits = c.bits + static_cast<u64>(c.tile) * spans * SPAN * 32 + lane;
  const u64 levelsAt = static_cast<u64>(c.tile) * groups * TILE_ROWS + g;
  float acc[NT][4];
#pragma unroll
  for (int n = 0; n < NT; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[n][i] = 0;

  constexpr int STRIDE = SPLIT ? WARPS : 1;
  for (int first = SPLIT ? warp : 0; first < spans; first += STRIDE * AHEAD) {
    uint4 loaded[AHEAD][SPAN];
    Levels<OFFSETS> levels[AHEAD][IN_UNIT][2];
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      const int span = first + i * STRIDE;
      if (span >= spans) break;
#pragma unroll
      for (int u = 0; u < SPAN; ++u) loaded[i][u] = loadStream(bits + static_cast<u64>(span * SPAN + u) * 32);
#pragma unroll
      for (int h = 0; h < IN_UNIT; ++h)
#pragma unroll
        for (int r = 0; r < 2; ++r)
          levels[i][h][r] = loadLevels<OFFSETS>(c.levels, levelsAt + (span * IN_UNIT + h) * TILE_ROWS + 8 * r);
    }
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      const int span = first + i * STRIDE;
      if (span >= spans) break;
      Factors factors[IN_UNIT][2];
#pragma unroll
      for (int h = 0; h < IN_UNIT; ++h)
#pragma unroll
        for (int r = 0; r < 2; ++r) factors[h][r] = factorsOf<OFFSETS>(levels[i][h][r]);
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        // Rows of codes past the last are the last again; nobody reads their results.
        const int token = min(firstToken + 8 * n + g, a.tokens - 1);
        const int left = min(firstToken + 8 * n + 2 * t, a.tokens - 1), right = min(left + 1, a.tokens - 1);
        int sums[3][4];
        startSums(sums);
        float plain[2] = {0, 0};
#pragma unroll
        for (int u = 0; u < SPAN; ++u) {
          const int unit = span * SPAN + u;
          if (SPAN > 1 && unit >= units) break;
          const uint4* const codes = reinterpret_cast<const uint4*>(a.codes) + (static_cast<u64>(token) * units + unit) * 8 + t;
          const uint4 low = __ldg(codes), high = __ldg(codes + 4);
          const u32 b[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
          const UnitBits w{{loaded[i][u].x, loaded[i][u].z}, {loaded[i][u].y, loaded[i][u].w}};
#pragma unroll
          for (int step = 0; step < 4; ++step) {
            multiplyStep(sums, w, step, b[2 * step], b[2 * step + 1]);
            const bool isEnd = (step + 1) * IN_UNIT % 4 == 0;
            if (!isEnd) continue;
            const int h = (step + 1) * IN_UNIT / 4 - 1;
            plain[0] += __ldg(a.sums + (static_cast<u64>(left) * units + unit) * 4 + h);
            plain[1] += __ldg(a.sums + (static_cast<u64>(right) * units + unit) * 4 + h);
            if (SPAN > 1) continue;
#pragma unroll
            for (int o = 0; o < 4; ++o)
              acc[n][o] = addGroup(acc[n][o], factors[h][o >> 1], plain[o & 1], sums[0][o], sums[1][o], sums[2][o]);
            startSums(sums);
            plain[0] = plain[1] = 0;
          }
        }
        if (SPAN > 1)
#pragma unroll
          for (int o = 0; o < 4; ++o)
            acc[n][o] = addGroup(acc[n][o], factors[0][o >> 1], plain[o & 1], sums[0][o], sums[1][o], sums[2][o]);
      }
    }
  }
  if constexpr (SPLIT) {
    SHARED(float, partial, WARPS * 8 * NT * TILE_ROWS);
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
      for (int o = 0; o < 4; ++o)
        partial[(warp * 8 * NT + 8 * n + 2 * t + (o & 1)) * TILE_ROWS + g + 8 * (o >> 1)] = acc[n][o];
    __syncthreads();
    finishSplit<WARPS, 8 * NT>(c, a, firstToken, partial);
  } else {
#pragma unroll
    for (int n = 0; n < NT; ++n)
#pragma unroll
      for (int o = 0; o < 4; ++o)
        finish(c, a, firstToken + 8 * n + 2 * t + (o & 1), c.tile * TILE_ROWS + g + 8 * (o >> 1), acc[n][o]);
  }
}

// Names say how many rows of codes a block takes, the group size, and o for offsets.
#define MMA_KERNELS(G)                                                                                     \
  KERNEL(w11_mma8_g##G, W11Args, 256) { multiplyMma<G, false, 1, 8, true, G >= 128 ? 4 : 2>(args); }        \
  KERNEL(w11_mma8_g##G##o, W11Args, 256) { multiplyMma<G, true, 1, 8, true, G >= 128 ? 4 : 2>(args); }      \
  KERNEL(w11_mma16_g##G, W11Args, 256) { multiplyMma<G, false, 2, 8, true, G >= 128 ? 2 : 1>(args); }       \
  KERNEL(w11_mma16_g##G##o, W11Args, 256) { multiplyMma<G, true, 2, 8, true, G >= 128 ? 2 : 1>(args); }     \
  KERNEL(w11_mma32_g##G, W11Args, 128) { multiplyMma<G, false, 4, 4, false, 1>(args); }                     \
  KERNEL(w11_mma32_g##G##o, W11Args, 128) { multiplyMma<G, true, 4, 4, false, 1>(args); }

MMA_KERNELS(32)
MMA_KERNELS(64)
MMA_KERNELS(128)
MMA_KERNELS(256)
