// W(1+1) products without tensor cores, the other steps of the ladder: dp4a on masked bytes, popcounts of bit planes, and
// levels times f32 activations. A lane has two rows of a tile and a word of each unit; lanes t add up at the end.
#include "w11-bits.cuh"

#define LANE_WARPS 8

enum LaneForm { FORM_DP4A, FORM_POPC, FORM_FLOAT };

/** Sums over s, m and both of word j of a unit, times 8. */
DEVICE void addDp4a(int (&sums)[3], u32 s, u32 m, u32 b, int j) {
  const u32 ms = maskWord(s, j), mm = maskWord(m, j);
  sums[0] = dotBytes(ms, b, sums[0]);
  sums[1] = dotBytes(mm, b, sums[1]);
  sums[2] = dotBytes(ms & mm, b, sums[2]);
}

/** The same of the words of a group, from bit planes: bit i of codes counts 2^i. */
DEVICE void addPopc(int (&sums)[3], u32 s, u32 m, const uint4& planes, u32 mask) {
  const u32 p[4] = {planes.x, planes.y, planes.z, planes.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const u32 plane = p[i] & mask;
    sums[0] += __popc(s & plane) << (i + 3);
    sums[1] += __popc(m & plane) << (i + 3);
    sums[2] += __popc(s & m & plane) << (i + 3);
  }
}

template <int G, bool OFFSETS, int TOKENS, LaneForm FORM>
DEVICE void multiplyLanes(const W11Args& a) {
  waitForInputs();
  typedef Groups<G> Shape;
  constexpr int SPAN = Shape::SPAN, IN_UNIT = Shape::IN_UNIT, WORDS = Shape::WORDS;
  const int lane = laneOf(), g = lane >> 2, t = lane & 3, warp = warpOf();
  const Chosen c = choose(a, blockIdx.x);
  const int units = (a.width + UNIT - 1) / UNIT, spans = (units + SPAN - 1) / SPAN, groups = spans * IN_UNIT;
  const int firstToken = blockIdx.y * TOKENS;
  const uint4* const bits = c.bits + static_cast<u64>(c.tile) * spans * SPAN * 32 + lane;
  const u64 levelsAt = static_cast<u64>(c.tile) * groups * TILE_ROWS + g;
  float acc[TOKENS][2];
#pragma unroll
  for (int n = 0; n < TOKENS; ++n) acc[n][0] = acc[n][1] = 0;
  for (int unit = warp; unit < units; unit += LANE_WARPS) {
    const uint4 w = loadStream(bits + static_cast<u64>(unit) * 32);
    const u32 s[2] = {w.x, w.z}, m[2] = {w.y, w.w};
#pragma unroll
    for (int h = 0; h < IN_UNIT; ++h) {
      Levels<OFFSETS> levels[2];
#pragma unroll
      for (int r = 0; r < 2; ++r)
        levels[r] = loadLevels<OFFSETS>(c.levels, levelsAt + (unit / SPAN * IN_UNIT + h) * TILE_ROWS + 8 * r);
#pragma unroll
      for (int n = 0; n < TOKENS; ++n) {
        const int token = min(firstToken + n, a.tokens - 1);
        if (FORM == FORM_FLOAT) {
          const float* const x = reinterpret_cast<const float*>(a.codes) + static_cast<u64>(token) * a.strideX;
          float alpha[2][2], mu[2][2];
#pragma unroll
          for (int r = 0; r < 2; ++r) unpackLevels<OFFSETS>(levels[r], alpha[r], mu[r]);
#pragma unroll 1
          for (int j = h * WORDS; j < (h + 1) * WORDS; ++j)
#pragma unroll
            for (int b = 0; b < 4; ++b) {
              const int k = unit * UNIT + columnOf(Shape::LAYOUT, t, j, b);
              if (k >= a.width) continue;
              const float value = __ldg(x + k);
#pragma unroll
              for (int r = 0; r < 2; ++r) {
                const bool second = m[r] >> (8 * b + j) & 1u, positive = s[r] >> (8 * b + j) & 1u;
                const float half = second ? alpha[r][1] : alpha[r][0], middle = second ? mu[r][1] : mu[r][0];
                acc[n][r] = fmaf(middle + (positive ? half : -half), value, acc[n][r]);
              }
            }
          continue;
        }
        const u64 at = static_cast<u64>(token) * units + unit;
        const float plain = t == 0 ? __ldg(a.sums + at * 4 + h) : 0.0f;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          int sums[3] = {SUM_START, SUM_START, SUM_START};
          if (FORM == FORM_POPC) {
            addPopc(sums, s[r], m[r], __ldg(reinterpret_cast<const uint4*>(a.codes) + at * 4 + t), partMask<WORDS>(h));
          } else {
            const uint4* const codes = reinterpret_cast<const uint4*>(a.codes) + at * 8 + t;
            const uint4 low = __ldg(codes), high = __ldg(codes + 4);
            const u32 b[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (int j = h * WORDS; j < (h + 1) * WORDS; ++j) addDp4a(sums, s[r], m[r], b[j], j);
          }
          acc[n][r] = addGroup(acc[n][r], factorsOf<OFFSETS>(levels[r]), plain, sums[0], sums[1], sums[2]);
        }
      }
    }
  }
  SHARED(float, partial, LANE_WARPS * TOKENS * TILE_ROWS);
#pragma unroll
  for (int n = 0; n < TOKENS; ++n)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float sum = acc[n][r];
      sum += __shfl_xor_sync(FULL, sum, 1);
      sum += __shfl_xor_sync(FULL, sum, 2);
      if (t == 0) partial[(warp * TOKENS + n) * TILE_ROWS + g + 8 * r] = sum;
    }
  __syncthreads();
  if (FORM != FORM_FLOAT) {
    finishSplit<LANE_WARPS, TOKENS>(c, a, a.params, firstToken, partial);
    return;
  }
  for (int i = threadIdx.x; i < TOKENS * TILE_ROWS; i += LANE_WARPS * 32) {
    const int token = firstToken + i / TILE_ROWS, row = c.tile * TILE_ROWS + i % TILE_ROWS;
    if (token >= a.tokens || row >= c.rows) continue;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < LANE_WARPS; ++w) sum += partial[w * TOKENS * TILE_ROWS + i];
    c.out[static_cast<u64>(token) * c.strideOut + row] = sum;
    if (c.sum) c.sum[static_cast<u64>(token) * c.strideSum + row] += sum;
  }
}

#define FLOAT_KERNELS(G)                                                                            \
  KERNEL(w11_float4_g##G, W11Args, 256) { multiplyLanes<G, false, 4, FORM_FLOAT>(args); }           \
  KERNEL(w11_float4_g##G##o, W11Args, 256) { multiplyLanes<G, true, 4, FORM_FLOAT>(args); }

FLOAT_KERNELS(32)
FLOAT_KERNELS(64)
FLOAT_KERNELS(128)
FLOAT_KERNELS(256)

// Of the ladder; with the group size that matters, since neither is the one that the backend takes.
KERNEL(w11_dp4a1_g128o, W11Args, 256) { multiplyLanes<128, true, 1, FORM_DP4A>(args); }
KERNEL(w11_dp4a4_g128o, W11Args, 256) { multiplyLanes<128, true, 4, FORM_DP4A>(args); }
KERNEL(w11_popc1_g128o, W11Args, 256) { multiplyLanes<128, true, 1, FORM_POPC>(args); }
KERNEL(w11_popc4_g128o, W11Args, 256) { multiplyLanes<128, true, 4, FORM_POPC>(args); }

struct PlanesArgs {
  const u32* codes;
  u32* planes;
  int units;
};

/** Codes as bit planes, [row][unit][t][4], for the popcount form; a warp a unit. */
KERNEL(split_planes, PlanesArgs, 256) {
  waitForInputs();
  const int unit = blockIdx.x * 8 + warpOf(), lane = laneOf(), t = lane >> 3, j = lane & 7;
  const u64 at = static_cast<u64>(blockIdx.y) * args.units + min(unit, args.units - 1);
  const u32 plane = planeOf(args.codes[at * UNIT_WORDS + wordOf(t, j)] >> (3 - (j & 3)), j);
  if (unit < args.units) putPlane(args.planes, static_cast<int>(at), plane);
}
