// W(1+1) levels times f32 activations (A16). A lane has two rows of a tile and a word of each unit; lanes t add up at the end.
#include "w11.cuh"

#define LANE_WARPS 8

template <int G, bool OFFSETS, int TOKENS>
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
#pragma unroll 1
    for (int h = 0; h < IN_UNIT; ++h) {
      Levels<OFFSETS> levels[2];
#pragma unroll
      for (int r = 0; r < 2; ++r)
        levels[r] = loadLevels<OFFSETS>(c.levels, levelsAt + (unit / SPAN * IN_UNIT + h) * TILE_ROWS + 8 * r);
#pragma unroll
      for (int n = 0; n < TOKENS; ++n) {
        const int token = min(firstToken + n, a.tokens - 1);
        const float* const x = reinterpret_cast<const float*>(a.codes) + static_cast<u64>(token) * a.strideX;
        float alpha[2][2], mu[2][2];
#pragma unroll
        for (int r = 0; r < 2; ++r) unpackLevels<OFFSETS>(levels[r], alpha[r], mu[r]);
#pragma unroll 1
        for (int j = h * WORDS; j < (h + 1) * WORDS; ++j)
#pragma unroll(G == 32 ? 1 : 4)
          for (int b = 0; b < 4; ++b) {
            const int k = unit * UNIT + columnOf(Shape::LAYOUT, t, j, b);
            if (k >= a.width) continue;
            // Another kernel's results, so not by way of the cache for what never changes.
            const float value = x[k];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
              const bool second = m[r] >> (8 * b + j) & 1u, positive = s[r] >> (8 * b + j) & 1u;
              const float half = second ? alpha[r][1] : alpha[r][0], middle = second ? mu[r][1] : mu[r][0];
              acc[n][r] = fmaf(middle + (positive ? half : -half), value, acc[n][r]);
            }
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
  KERNEL_INDEXED_OF(w11_float4_g##G, W11Args, 256, 1) { multiplyLanes<G, false, 4>(args); }           \
  KERNEL_INDEXED_OF(w11_float4_g##G##o, W11Args, 256, 1) { multiplyLanes<G, true, 4>(args); }

FLOAT_KERNELS(32)
FLOAT_KERNELS(64)
FLOAT_KERNELS(128)
FLOAT_KERNELS(256)
