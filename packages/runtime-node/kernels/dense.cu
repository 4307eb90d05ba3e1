// Products with weights of other encodings: the head, models that are not W(1+1), outlier columns. Some lanes of a warp share four
// rows of weights; a lane loads 16 bytes of each, so rows are padded to that.
#include "layout.cuh"

struct DenseArgs {
  const float* x;
  const u8* weights;
  /** f16, one a group, of int8 and int4. */
  const u16* scales;
  float* out;
  /** Where results are added to besides, or null. */
  float* sum;
  int rows;
  int width;
  /** Bytes from one row of weights to the next. */
  int rowBytes;
  int groupSize;
  int groups;
  int strideX;
  int strideOut;
  int strideSum;
  /** Rows of x: how many, and the first. */
  int tokens;
  int firstToken;
  /** 2^shift lanes share rows: of narrow weights fewer than a warp has, so that all have as much to load. */
  int shift;
};

template <DenseKind KIND>
struct Dense {
  /** Columns in 16 bytes. */
  static constexpr int COLUMNS = KIND == DENSE_F32 ? 4 : KIND == DENSE_INT8 ? 16 : KIND == DENSE_INT4 ? 32 : 8;
  static constexpr bool SCALED = KIND == DENSE_INT8 || KIND == DENSE_INT4;
};

DEVICE u32 wordOf4(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

/** Four columns of 16 bytes of weights, as f32 and exact; scales left out. */
template <DenseKind KIND>
DEVICE float4 decodeQuad(const uint4& v, int quad) {
  if (KIND == DENSE_F32) return floatsOf(v);
  if (KIND == DENSE_F16 || KIND == DENSE_BF16) {
    const u32 a = wordOf4(v, 2 * quad), b = wordOf4(v, 2 * quad + 1);
    if (KIND == DENSE_BF16)
      return make_float4(__int_as_float(a << 16), __int_as_float(a & 0xffff0000u), __int_as_float(b << 16),
                         __int_as_float(b & 0xffff0000u));
    return make_float4(halfToFloat(static_cast<u16>(a)), halfToFloat(static_cast<u16>(a >> 16)),
                       halfToFloat(static_cast<u16>(b)), halfToFloat(static_cast<u16>(b >> 16)));
  }
  // Of 2^23 + code + offset the low byte is that; the sign bit turned over makes two's complement code + offset.
  u32 bytes;
  float offset;
  if (KIND == DENSE_INT8) {
    bytes = wordOf4(v, quad) ^ 0x80808080u;
    offset = 8388608.0f + 128.0f;
  } else {
    const u32 pairs = wordOf4(v, quad >> 1) >> (quad & 1) * 16 ^ 0x8888u;
    bytes = (pairs & 15u) | (pairs & 0xf0u) << 4 | (pairs & 0xf00u) << 8 | (pairs & 0xf000u) << 12;
    offset = 8388608.0f + 8.0f;
  }
  return make_float4(__int_as_float(__byte_perm(bytes, 0x4b000000u, 0x7540)) - offset,
                     __int_as_float(__byte_perm(bytes, 0x4b000000u, 0x7541)) - offset,
                     __int_as_float(__byte_perm(bytes, 0x4b000000u, 0x7542)) - offset,
                     __int_as_float(__byte_perm(bytes, 0x4b000000u, 0x7543)) - offset);
}

#define DENSE_ROWS 4

/** The same 16 bytes of the rows that a lane has, and their scales. */
struct DenseChunk {
  uint4 bytes[DENSE_ROWS];
  float scales[DENSE_ROWS];
};

/** Rows past the last are the last again. Weights are no other kernel's results. */
template <DenseKind KIND>
DEVICE void loadChunk(DenseChunk& to, const DenseArgs& a, int row, int chunk) {
  const int group = Dense<KIND>::SCALED ? chunk * Dense<KIND>::COLUMNS / a.groupSize : 0;
#pragma unroll
  for (int r = 0; r < DENSE_ROWS; ++r) {
    const u64 at = min(row + r, a.rows - 1);
    to.bytes[r] = loadStream(reinterpret_cast<const uint4*>(a.weights + at * a.rowBytes) + chunk);
    if (Dense<KIND>::SCALED) to.scales[r] = halfToFloat(__ldg(a.scales + at * a.groups + group));
  }
}

template <DenseKind KIND, int TOKENS>
DEVICE void multiplyChunk(float (&acc)[DENSE_ROWS][TOKENS], const DenseChunk& weights, const DenseArgs& a, int chunk) {
  constexpr int COLUMNS = Dense<KIND>::COLUMNS;
  const int firstToken = blockIdx.y * TOKENS;
  float part[DENSE_ROWS][TOKENS];
#pragma unroll
  for (int r = 0; r < DENSE_ROWS; ++r)
#pragma unroll
    for (int n = 0; n < TOKENS; ++n) part[r][n] = 0;
#pragma unroll
  for (int q = 0; q < COLUMNS / 4; ++q) {
    const int k = chunk * COLUMNS + 4 * q;
    if (k >= a.width) break;
    float4 x[TOKENS];
#pragma unroll
    for (int n = 0; n < TOKENS; ++n)
      x[n] = loadQuad(a.x + static_cast<u64>(a.firstToken + min(firstToken + n, a.tokens - 1)) * a.strideX, k, a.width);
#pragma unroll
    for (int r = 0; r < DENSE_ROWS; ++r) {
      const float4 v = decodeQuad<KIND>(weights.bytes[r], q);
#pragma unroll
      for (int n = 0; n < TOKENS; ++n) {
        part[r][n] = fmaf(v.x, x[n].x, part[r][n]);
        part[r][n] = fmaf(v.y, x[n].y, part[r][n]);
        part[r][n] = fmaf(v.z, x[n].z, part[r][n]);
        part[r][n] = fmaf(v.w, x[n].w, part[r][n]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < DENSE_ROWS; ++r)
#pragma unroll
    for (int n = 0; n < TOKENS; ++n)
      acc[r][n] = Dense<KIND>::SCALED ? fmaf(weights.scales[r], part[r][n], acc[r][n]) : acc[r][n] + part[r][n];
}

template <DenseKind KIND, int TOKENS>
DEVICE void multiplyDense(const DenseArgs& a) {
  beginNext();
  // Chunks under way; with more, registers of many rows would be too few.
  constexpr int AHEAD = TOKENS == 1 ? 3 : 1;
  const int lanes = 1 << a.shift, place = laneOf() & (lanes - 1), warp = blockIdx.x * (blockDim.x >> 5) + warpOf();
  const int groups = 32 >> a.shift, row = (warp * groups + (laneOf() >> a.shift)) * DENSE_ROWS;
  const int chunks = (a.width + Dense<KIND>::COLUMNS - 1) / Dense<KIND>::COLUMNS;
  const bool isNeeded = warp * groups * DENSE_ROWS < a.rows;
  DenseChunk ahead[AHEAD];
#pragma unroll
  for (int i = 0; i < AHEAD; ++i)
    if (isNeeded && place + i * lanes < chunks) loadChunk<KIND>(ahead[i], a, row, place + i * lanes);
  awaitInputs();
  if (!isNeeded) return;
  float acc[DENSE_ROWS][TOKENS];
#pragma unroll
  for (int r = 0; r < DENSE_ROWS; ++r)
#pragma unroll
    for (int n = 0; n < TOKENS; ++n) acc[r][n] = 0;
#pragma unroll 1
  for (int first = place; first < chunks; first += AHEAD * lanes)
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      const int chunk = first + i * lanes, next = chunk + AHEAD * lanes;
      if (chunk < chunks) multiplyChunk<KIND, TOKENS>(acc, ahead[i], a, chunk);
      if (next < chunks) loadChunk<KIND>(ahead[i], a, row, next);
    }
  __syncwarp();
  const int firstToken = blockIdx.y * TOKENS;
#pragma unroll
  for (int r = 0; r < DENSE_ROWS; ++r)
#pragma unroll
    for (int n = 0; n < TOKENS; ++n) {
      float y = acc[r][n];
      for (int i = lanes >> 1; i > 0; i >>= 1) y += __shfl_xor_sync(FULL, y, i);
      const int token = firstToken + n;
      if (place != ((r * TOKENS + n) & (lanes - 1)) || row + r >= a.rows || token >= a.tokens) continue;
      a.out[static_cast<u64>(token) * a.strideOut + row + r] = y;
      if (a.sum) a.sum[static_cast<u64>(token) * a.strideSum + row + r] += y;
    }
}

#define DENSE_KERNELS(name, KIND)                                                        \
  KERNEL(dense1_##name, DenseArgs, 256) { multiplyDense<KIND, 1>(args); }                \
  KERNEL(dense4_##name, DenseArgs, 256) { multiplyDense<KIND, 4>(args); }

DENSE_KERNELS(f32, DENSE_F32)
DENSE_KERNELS(f16, DENSE_F16)
DENSE_KERNELS(bf16, DENSE_BF16)
DENSE_KERNELS(int8, DENSE_INT8)
DENSE_KERNELS(int4, DENSE_INT4)
