// W(1+1)A4 on int8 tensor cores: 16 rows of weights times 8 rows of codes in one instruction, three of them (over s, m and
// both) for 32 columns, and few rows of codes: the warps of a block share a tile's columns. Many: w11-many.cu.
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

/** Everything of a unit that a lane holds as operand A: [step][plane] for rows g and g + 8, two words each. */
struct UnitBits {
  u32 s[2], m[2];
};

/** 32 columns; the first of a group starts its sums. */
DEVICE void multiplyStep(int (&sums)[3][4], const UnitBits& w, int step, bool starts, u32 b0, u32 b1) {
  u32 s[4], m[4];
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      s[2 * h + r] = maskWord(w.s[r], 2 * step + h);
      m[2 * h + r] = maskWord(w.m[r], 2 * step + h);
    }
  const auto multiply = [&](int (&sum)[4], u32 a0, u32 a1, u32 a2, u32 a3) {
    if (starts) multiplyTilesFrom(SUM_START, sum, a0, a1, a2, a3, b0, b1);
    else multiplyTiles(sum, a0, a1, a2, a3, b0, b1);
  };
  multiply(sums[0], s[0], s[1], s[2], s[3]);
  multiply(sums[1], m[0], m[1], m[2], m[3]);
  multiply(sums[2], s[0] & m[0], s[1] & m[1], s[2] & m[2], s[3] & m[3]);
}

/** Where rows of codes are, and which is the block's first. */
struct Codes {
  const uint4* words;
  const float* sums;
  int units, tokens, first;
};

template <int G, bool OFFSETS, int NT, int COUNT>
DEVICE void multiplySpans(float (&acc)[NT][4], const Loaded<G, OFFSETS, COUNT>& loaded, const Codes& codes, int first,
                          int stride, int spans) {
  constexpr int SPAN = Groups<G>::SPAN, IN_UNIT = Groups<G>::IN_UNIT;
  const int lane = laneOf(), g = lane >> 2, t = lane & 3, units = codes.units;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    const int span = first + i * stride;
    if (span >= spans) return;
    Factors factors[IN_UNIT][2];
#pragma unroll
    for (int h = 0; h < IN_UNIT; ++h)
#pragma unroll
      for (int r = 0; r < 2; ++r) factors[h][r] = factorsOf<OFFSETS>(loaded.levels[i][h][r]);
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      // Rows of codes past the last are the last again; nobody reads their results.
      const int token = min(codes.first + 8 * n + g, codes.tokens - 1);
      const int left = min(codes.first + 8 * n + 2 * t, codes.tokens - 1), right = min(left + 1, codes.tokens - 1);
      int sums[3][4];
      float plain[2] = {0, 0};
#pragma unroll
      for (int u = 0; u < SPAN; ++u) {
        const int unit = span * SPAN + u;
        if (SPAN > 1 && unit >= units) break;
        const uint4* const words = codes.words + (static_cast<u64>(token) * units + unit) * 8 + t;
        const uint4 low = words[0], high = words[4];
        const u32 b[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        const uint4 w = loaded.bits[i][u];
        const UnitBits bits{{w.x, w.z}, {w.y, w.w}};
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          multiplyStep(sums, bits, step, step * IN_UNIT % 4 == 0 && u == 0, b[2 * step], b[2 * step + 1]);
          const bool isEnd = (step + 1) * IN_UNIT % 4 == 0;
          if (!isEnd) continue;
          const int h = (step + 1) * IN_UNIT / 4 - 1;
          plain[0] += codes.sums[(static_cast<u64>(left) * units + unit) * 4 + h];
          plain[1] += codes.sums[(static_cast<u64>(right) * units + unit) * 4 + h];
          if (SPAN > 1) continue;
#pragma unroll
          for (int o = 0; o < 4; ++o)
            acc[n][o] = addGroup(acc[n][o], factors[h][o >> 1], plain[o & 1], sums[0][o], sums[1][o], sums[2][o]);
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

/** The warps' sums of a split tile to shared memory, [warp][token][row of the tile]. */
template <int NT>
DEVICE void leaveSums(float* partial, const float (&acc)[NT][4]) {
  const int lane = laneOf(), g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int n = 0; n < NT; ++n)
#pragma unroll
    for (int o = 0; o < 4; ++o)
      partial[(warpOf() * 8 * NT + 8 * n + 2 * t + (o & 1)) * TILE_ROWS + g + 8 * (o >> 1)] = acc[n][o];
  __syncthreads();
}

/** Few rows of codes: the warps of a block share a tile, each taking every eighth span, AHEAD of them loaded before they are used. */
template <int G, bool OFFSETS, int NT, int AHEAD>
DEVICE void multiplySplit(const W11Args& a) {
  constexpr int SPAN = Groups<G>::SPAN, STRIDE = SPLIT_WARPS * AHEAD;
  const int units = (a.width + UNIT - 1) / UNIT, spans = (units + SPAN - 1) / SPAN, firstToken = blockIdx.y * 8 * NT;
  const Chosen c = choose(a, blockIdx.x);
  Loaded<G, OFFSETS, AHEAD> loaded;
  // Weights are no other kernel's results, so they may be on their way before those are there.
  loadSpans(loaded, c, warpOf(), SPLIT_WARPS, spans);
  waitForInputs();
  const Codes codes{reinterpret_cast<const uint4*>(a.codes), a.sums, units, a.tokens, firstToken};
  float acc[NT][4] = {};
  for (int first = warpOf(); first < spans; first += STRIDE) {
    const Loaded<G, OFFSETS, AHEAD> now = loaded;
    loadSpans(loaded, c, first + STRIDE, SPLIT_WARPS, spans);
    multiplySpans<G, OFFSETS, NT, AHEAD>(acc, now, codes, first, SPLIT_WARPS, spans);
  }
  SHARED(float, partial, SPLIT_WARPS * 8 * NT * TILE_ROWS);
  leaveSums<NT>(partial, acc);
  finishSplit<SPLIT_WARPS, 8 * NT>(c, a, a.params, firstToken, partial);
}

// Names say how many rows of codes a block takes, the group size, and o for offsets.
#define MMA_KERNELS(G)                                                                                 \
  KERNEL_INDEXED(w11_mma8_g##G, W11Args, 256) { multiplySplit<G, false, 1, G >= 128 ? 4 : 2>(args); }           \
  KERNEL_INDEXED(w11_mma8_g##G##o, W11Args, 256) { multiplySplit<G, true, 1, G >= 128 ? 4 : 2>(args); }         \
  KERNEL_INDEXED(w11_mma16_g##G, W11Args, 256) { multiplySplit<G, false, 2, G >= 128 ? 2 : 1>(args); }          \
  KERNEL_INDEXED(w11_mma16_g##G##o, W11Args, 256) { multiplySplit<G, true, 2, G >= 128 ? 2 : 1>(args); }

MMA_KERNELS(32)
MMA_KERNELS(64)
MMA_KERNELS(128)
MMA_KERNELS(256)
